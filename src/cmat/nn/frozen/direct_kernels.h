// Direct convolution as matrix products: the inputs of a few outputs are gathered into rows,
// multiplied with packed weights (kernels.h), and the sums stored where they belong. One thread
// each.
#pragma once

#include <cstdint>
#include <vector>

#include "cmat/nn/frozen/kernels.h"

namespace cmat::nn::frozen {

/// One side of a layer: what an image's value looks like there.
struct Side {
  std::int64_t channels = 0, height = 1, width = 1;
  std::int64_t stride = 0;  ///< floats from pixel to pixel

  std::int64_t pixels() const { return height * width; }
  std::int64_t floats() const { return pixels() * stride; }  ///< of an image
};

/// The outputs that read their inputs in the same way. Place (i, j), i < down and j < across, reads
/// the pixels (i * read + dy, j * read + dx) of its `taps`, and writes the pixels (i * write + dy,
/// j * write + dx) of its `targets`; those outside the image read as 0 and are not written.
struct Lattice {
  struct Offset {
    std::int64_t dy = 0, dx = 0;
  };
  std::int64_t down = 0, across = 0, read = 1, write = 1;
  std::vector<Offset> taps, targets;

  std::int64_t places() const { return down * across; }  ///< of an image
};

/// A lattice's taps on a certain side, joined where their pixels lie side by side in memory.
struct Taps {
  struct Run {
    Lattice::Offset first;
    std::int64_t pixels = 1;
    std::int64_t offset = 0;  ///< floats from the pixel at (0, 0) of the place
  };
  std::vector<Run> runs;
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;  ///< least and largest dy and dx

  Taps(const Lattice& lattice, const Side& in);
};

/// Rows of the places first .. first + count - 1 of the batch, `row` floats apart: for each tap the
/// channels of its pixel, times `scale` if any. Writes up to kPanel floats past a row's end.
void gather(const Lattice& lattice, const Taps& taps, const Side& in, const float* x,
            const float* scale, std::int64_t first, std::int64_t count, float* to,
            std::int64_t row);

/// Finishes rows of sums, `row` floats apart, and stores them: for each target the channels of its
/// pixel. Where a pixel has fewer than kPanel floats, nothing but the sum may be asked for.
void scatter(const Lattice& lattice, const Side& out, const float* sums, std::int64_t row,
             std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y);

}  // namespace cmat::nn::frozen
