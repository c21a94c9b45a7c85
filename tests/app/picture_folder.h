// A folder of small pictures that a small network can tell apart, in every format.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "data/make_picture.h"

namespace cmat::test {

/// Stripes of one class: their direction and colour; each picture has another phase and brightness.
inline Canvas striped(int kind, int number, int width, int height) {
  return paint(width, height, 3, [=](int x, int y, int c) {
    const int along = kind % 2 == 0 ? x : y;
    const bool stripe = (along + number) / 6 % 2 == 0;
    const bool coloured = c == kind % 3;
    return static_cast<std::uint8_t>(stripe && coloured ? 200 + number % 40 : 30 + number % 20);
  });
}

/// Writes `count` pictures of each class into FOLDER/CLASS/: JPEG, PNG and WebP by turns.
inline void write_pictures(const std::filesystem::path& folder,
                           const std::vector<std::string>& classes, int count, int side) {
  for (std::size_t kind = 0; kind < classes.size(); ++kind) {
    std::filesystem::create_directories(folder / classes[kind]);
    for (int i = 0; i < count; ++i) {
      const Canvas canvas = striped(static_cast<int>(kind), i, side + i % 5, side + i % 3);
      const std::string name = std::to_string(i) + (i % 3 == 0   ? ".jpg"
                                                    : i % 3 == 1 ? ".png"
                                                                 : ".webp");
      std::ofstream(folder / classes[kind] / name, std::ios::binary)
          << (i % 3 == 0   ? make_jpeg(canvas, {.quality = 90})
              : i % 3 == 1 ? make_png(canvas)
                           : make_webp(canvas));
    }
  }
}

}  // namespace cmat::test
