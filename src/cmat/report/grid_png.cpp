#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/report/embed.h"
#include "cmat/report/grid.h"

namespace cmat::report {
namespace {

constexpr std::int64_t kGap = 4, kFrame = 2;
constexpr std::int64_t kSmallestSide = 64;  ///< images are shown at least this large
constexpr std::size_t kColumns = 8;

/// An RGB picture that is painted on.
struct Canvas {
  std::int64_t height, width;
  std::vector<std::uint8_t> planes;

  Canvas(std::int64_t h, std::int64_t w)
      : height(h), width(w), planes(static_cast<std::size_t>(3 * h * w), 255) {}
  void set(std::int64_t y, std::int64_t x, std::int64_t channel, std::uint8_t value) {
    planes[static_cast<std::size_t>((channel * height + y) * width + x)] = value;
  }
  void fill(std::int64_t top, std::int64_t left, std::int64_t h, std::int64_t w,
            const std::uint8_t (&colour)[3]) {
    for (std::int64_t y = top; y < top + h; ++y) {
      for (std::int64_t x = left; x < left + w; ++x) {
        for (int c = 0; c < 3; ++c) set(y, x, c, colour[c]);
      }
    }
  }
};

/// Half grey plus the difference, so large that the largest of this image is black or white.
std::vector<std::uint8_t> difference(const GridCell& cell, double amplification) {
  int largest = 1;
  for (std::size_t i = 0; i < cell.clean.size(); ++i)
    largest = std::max(largest, std::abs(cell.adversarial[i] - cell.clean[i]));
  const double scale = amplification > 0 ? amplification : 127.0 / largest;
  std::vector<std::uint8_t> result;
  for (std::size_t i = 0; i < cell.clean.size(); ++i) {
    const double value = 128 + scale * (cell.adversarial[i] - cell.clean[i]);
    result.push_back(static_cast<std::uint8_t>(std::clamp(std::round(value), 0.0, 255.0)));
  }
  return result;
}

}  // namespace

void write_grid_png(const std::filesystem::path& path, const Grid& grid) {
  if (grid.cells.empty()) failure("a picture of adversarial images needs at least one image");
  const std::int64_t zoom = std::max<std::int64_t>(
      1, (kSmallestSide + grid.height - 1) / std::max<std::int64_t>(grid.height, 1));
  const std::int64_t h = grid.height * zoom, w = grid.width * zoom;
  const auto columns = static_cast<std::int64_t>(std::min(kColumns, grid.cells.size()));
  const auto count = static_cast<std::int64_t>(grid.cells.size());
  const std::int64_t blocks = (count + columns - 1) / columns;
  const std::int64_t block = 3 * h + 2 * kGap + 2 * kFrame, cell_width = w + 2 * kFrame;
  Canvas canvas(blocks * block + (blocks + 1) * kGap, columns * cell_width + (columns + 1) * kGap);
  for (std::int64_t i = 0; i < count; ++i) {
    const GridCell& cell = grid.cells[static_cast<std::size_t>(i)];
    const std::int64_t top = kGap + (i / columns) * (block + kGap);
    const std::int64_t left = kGap + (i % columns) * (cell_width + kGap);
    const std::uint8_t red[3] = {200, 30, 30}, green[3] = {30, 140, 60};
    canvas.fill(top, left, block, cell_width, cell.fooled ? red : green);
    const std::vector<std::uint8_t> rows[] = {cell.clean, cell.adversarial,
                                              difference(cell, grid.amplification)};
    for (std::int64_t r = 0; r < 3; ++r) {
      for (std::int64_t y = 0; y < h; ++y) {
        for (std::int64_t x = 0; x < w; ++x) {
          for (std::int64_t c = 0; c < 3; ++c) {
            const std::int64_t from = grid.channels == 1 ? 0 : c;
            canvas.set(top + kFrame + r * (h + kGap) + y, left + kFrame + x, c,
                       rows[r][static_cast<std::size_t>((from * grid.height + y / zoom) * grid.width +
                                                        x / zoom)]);
          }
        }
      }
    }
  }
  write_file_atomic(path, png_bytes(canvas.planes, 3, canvas.height, canvas.width));
}

}  // namespace cmat::report
