// A picture of adversarial images: clean, adversarial and amplified difference side by side, with
// the predictions under each. One SVG file that needs nothing else.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cmat::report {

struct GridCell {
  std::vector<std::uint8_t> clean, adversarial;  ///< [c,h,w]
  std::string truth, clean_prediction, adversarial_prediction;
  bool fooled = false;
};

struct Grid {
  std::string title, caption;  ///< model; threat model and attack
  std::int64_t channels = 0, height = 0, width = 0;
  double amplification = 0;  ///< the difference is shown as 0.5 + amplification * (x' - x); 0: fit
  std::vector<GridCell> cells;
};

/// Writes the SVG atomically. Images are embedded as PNG, pixels unsmoothed.
void write_grid(const std::filesystem::path& path, const Grid& grid);

/// The same as a PNG without words: each image clean, adversarial and their amplified difference
/// below each other, framed red where the attack succeeded and green where it did not.
void write_grid_png(const std::filesystem::path& path, const Grid& grid);

}  // namespace cmat::report
