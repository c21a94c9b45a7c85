// The sums of a convolution's taps, brought to the pixels that they fall on (col2im, as Caffe calls
// it). One thread each.
#pragma once

#include <cstdint>

#include "cmat/nn/frozen/direct_kernels.h"

namespace cmat::nn::frozen {

/// What the places of a layer's output send back to an image of few channels. Place (i, j) has
/// `row` floats, of which [(ky * kernel + kx) * channels + c] goes to channel c of the pixel
/// (i * stride - padding + ky, j * stride - padding + kx), if that is in the image.
struct TapSums {
  Side image;                         ///< its pixels side by side: image.stride is image.channels
  std::int64_t down = 0, across = 0;  ///< places
  std::int64_t kernel = 1, stride = 1, padding = 0;
  std::int64_t row = 0;

  /// Of the places that send something to the image's rows first .. last - 1: [begin, end).
  struct Rows {
    std::int64_t begin, end;
  };
  Rows senders(std::int64_t first, std::int64_t last) const;
  /// Floats of a line that col2im() works in.
  std::int64_t line() const;
};

/// The image's rows first .. last - 1, at `to`, from `sums`, which begin at the row of places
/// senders(first, last).begin and are followed by kPanel floats of any value. Adds taps row by row.
/// REQUIRES stride * channels <= kPanel.
void col2im(const TapSums& taps, const float* sums, std::int64_t first, std::int64_t last,
            float* line, float* to);

}  // namespace cmat::nn::frozen
