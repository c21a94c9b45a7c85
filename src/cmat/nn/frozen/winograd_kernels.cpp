#include "cmat/nn/frozen/winograd_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/winograd_kernels.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "cmat/nn/frozen/winograd_columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

/// A tile's place in the batch, in tiles.
struct Place {
  Place(const TileGrid& grid, std::int64_t tile)
      : image(tile / grid.tiles()),
        down(tile / grid.across % grid.down),
        across(tile % grid.across) {}
  std::int64_t image, down, across;
};

// The loops below that are kept as loops go through memory, where a tile of 36 or 81 vectors
// belongs anyway: unrolled, their addresses would be kept from channel to channel, in registers
// that there are not.

template <Filtering F>
void transform_input_tile(const TileGrid& grid, const float* x, const float* scale,
                          std::int64_t tile, float* to, std::int64_t plane) {
  constexpr TileShape kTile = tile_shape(F);
  constexpr std::int64_t kWindow = kTile.window, kPoints = kTile.points;
  const Floats f;
  const Place place(grid, tile);
  const Side& in = grid.in;
  const std::int64_t top = place.down * kTile.step - kTile.before;
  const std::int64_t left = place.across * kTile.step - kTile.before;
  const float* corner = x + ((place.image * in.height + top) * in.width + left) * in.stride;
  const std::int64_t line = in.width * in.stride;
  // Of the window's rows and columns, those inside the image.
  const std::int64_t first_row = HWY_MAX(0, -top), first_column = HWY_MAX(0, -left);
  const std::int64_t last_row = HWY_MIN(kWindow, in.height - top);
  const std::int64_t last_column = HWY_MIN(kWindow, in.width - left);
  const bool all_rows = first_row == 0 && last_row == kWindow;
  for (std::int64_t c = 0; c < in.stride; c += kLanes) {
    Vector half[kPoints * kWindow];
    const float* from = corner + c;
#pragma GCC unroll 1
    for (std::int64_t j = 0; j < kWindow; ++j, from += in.stride) {
      Vector d[kWindow];
      const bool inside = j >= first_column && j < last_column;
      if (inside && all_rows) {
#pragma GCC unroll 9
        for (std::int64_t i = 0; i < kWindow; ++i) d[i] = hn::Load(f, from + i * line);
      } else {
#pragma GCC unroll 9
        for (std::int64_t i = 0; i < kWindow; ++i) {
          const bool there = inside && i >= first_row && i < last_row;
          d[i] = there ? hn::Load(f, from + i * line) : hn::Zero(f);
        }
      }
      if (scale) {  // the transform is linear, and a channel's scale the same for the whole tile
        const Vector s = hn::Load(f, scale + c);
#pragma GCC unroll 9
        for (std::int64_t i = 0; i < kWindow; ++i) d[i] = hn::Mul(d[i], s);
      }
      input_column<F, 1, kWindow>(d, half + j);
    }
    float* next = to + c;
#pragma GCC unroll 1
    for (std::int64_t i = 0; i < kPoints; ++i, next += kPoints * plane) {
      Vector row[kPoints];
      input_column<F, 1, 1>(half + i * kWindow, row);
#pragma GCC unroll 9
      for (std::int64_t j = 0; j < kPoints; ++j) hn::Store(row[j], f, next + j * plane);
    }
  }
}

/// Of `columns` pixels `stride` floats apart the next `count` floats, which are fewer than a panel.
HWY_INLINE void store_narrow(const Vector* out, std::int64_t columns, float* y, std::int64_t stride,
                             std::int64_t count) {
  const Floats f;
  if (count <= 0) return;
  const auto rest = hn::FirstN(f, static_cast<std::size_t>(count));
  for (std::int64_t j = 0; j < columns; ++j) hn::BlendedStore(out[j], rest, f, y + j * stride);
}

template <Filtering F>
void transform_output_tile(const TileGrid& grid, const float* products, std::int64_t plane,
                           std::int64_t tile, const Epilogue& epilogue, float* y) {
  constexpr TileShape kTile = tile_shape(F);
  constexpr std::int64_t kProducts = kTile.products, kPixels = kTile.pixels;
  const Floats f;
  const Place place(grid, tile);
  const Side& out = grid.out;
  const std::int64_t top = place.down * kPixels, left = place.across * kPixels;
  const std::int64_t rows = HWY_MIN(kPixels, out.height - top);
  const std::int64_t columns = HWY_MIN(kPixels, out.width - left);
  const std::int64_t corner = ((place.image * out.height + top) * out.width + left) * out.stride;
  for (std::int64_t c = 0; c < padded(out.channels); c += kLanes) {
    Vector half[kPixels * kProducts];
    const float* from = products + c;
#pragma GCC unroll 1
    for (std::int64_t j = 0; j < kProducts; ++j, from += plane) {
      Vector column[kProducts];
#pragma GCC unroll 9
      for (std::int64_t i = 0; i < kProducts; ++i) {
        column[i] = hn::Load(f, from + i * kProducts * plane);
      }
      output_column<F, 1, kProducts>(column, half + j);
    }
    const Finisher finisher(epilogue, c);
    std::int64_t at = corner + c;
#pragma GCC unroll 1
    for (std::int64_t i = 0; i < rows; ++i, at += out.width * out.stride) {
      Vector row[kPixels];
      output_column<F, 1, 1>(half + i * kProducts, row);
      if (out.stride < kPanel) {  // an image's gradient: nothing but the sum
        store_narrow(row, columns, y + at, out.stride, out.stride - c);
        continue;
      }
#pragma GCC unroll 8
      for (std::int64_t j = 0; j < kPixels; ++j) {
        if (j == columns) break;
        const std::int64_t here = at + j * out.stride;
        hn::Store(finisher(row[j], here), f, y + here);
      }
    }
  }
}

template <Filtering F>
void transform_filters(const float* g, std::int64_t rows, bool rotated, float* to,
                       std::int64_t plane) {
  constexpr std::int64_t kSide = tile_shape(F).filters;
  const Floats f;
  for (std::int64_t o = 0; o < rows; ++o, g += 9 * kPanel, to += kPanel) {
    for (std::int64_t c = 0; c < kPanel; c += kLanes) {
      Vector taps[9], half[kSide * 3];
#pragma GCC unroll 9
      for (std::int64_t t = 0; t < 9; ++t) {
        taps[t] = hn::LoadU(f, g + (rotated ? 8 - t : t) * kPanel + c);
      }
#pragma GCC unroll 3
      for (std::int64_t j = 0; j < 3; ++j) weight_column<F, 3, 3>(taps + j, half + j);
      float* next = to + c;
#pragma GCC unroll 1
      for (std::int64_t i = 0; i < kSide; ++i, next += kSide * plane) {
        Vector row[kSide];
        weight_column<F, 1, 1>(half + i * 3, row);
        // Past the cache: the transformed weights of a network are larger than any.
#pragma GCC unroll 6
        for (std::int64_t j = 0; j < kSide; ++j) hn::Stream(row[j], f, next + j * plane);
      }
    }
  }
}

template <Filtering F>
void transform_inputs(const TileGrid& grid, const float* x, const float* scale, std::int64_t first,
                      std::int64_t count, float* to, std::int64_t plane) {
  for (std::int64_t t = 0; t < count; ++t) {
    transform_input_tile<F>(grid, x, scale, first + t, to + t * grid.in.stride, plane);
  }
}

template <Filtering F>
void transform_outputs(const TileGrid& grid, const float* products, std::int64_t plane,
                       std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  const std::int64_t row = padded(grid.out.channels);
  for (std::int64_t t = 0; t < count; ++t) {
    transform_output_tile<F>(grid, products + t * row, plane, first + t, epilogue, y);
  }
}

/// Calls work.template operator()<filtering>().
template <typename Work>
HWY_INLINE void with_filtering(Filtering filtering, const Work& work) {
  switch (filtering) {
    case Filtering::two:
      return work.template operator()<Filtering::two>();
    case Filtering::four:
      return work.template operator()<Filtering::four>();
    case Filtering::strided:
      return work.template operator()<Filtering::strided>();
    case Filtering::strided_gradient:
      return work.template operator()<Filtering::strided_gradient>();
  }
}

void TransformInput(const TileGrid& grid, const float* x, const float* scale, std::int64_t first,
                    std::int64_t count, float* to, std::int64_t plane) {
  with_filtering(grid.filtering, [&]<Filtering F>() HWY_ATTR {
    transform_inputs<F>(grid, x, scale, first, count, to, plane);
  });
}

void TransformOutput(const TileGrid& grid, const float* products, std::int64_t plane,
                     std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  with_filtering(grid.filtering, [&]<Filtering F>() HWY_ATTR {
    transform_outputs<F>(grid, products, plane, first, count, epilogue, y);
  });
}

void TransformWeights(Filtering filtering, const float* g, std::int64_t rows, bool rotated,
                      float* to, std::int64_t plane) {
  with_filtering(filtering, [&]<Filtering F>()
                                HWY_ATTR { transform_filters<F>(g, rows, rotated, to, plane); });
  hwy::FlushStream();
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(TransformInput);
HWY_EXPORT(TransformOutput);
HWY_EXPORT(TransformWeights);

void transform_input(const TileGrid& grid, const float* x, const float* scale, std::int64_t first,
                     std::int64_t count, float* to, std::int64_t plane) {
  HWY_DYNAMIC_DISPATCH(TransformInput)(grid, x, scale, first, count, to, plane);
}

void transform_output(const TileGrid& grid, const float* products, std::int64_t plane,
                      std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  HWY_DYNAMIC_DISPATCH(TransformOutput)(grid, products, plane, first, count, epilogue, y);
}

void transform_weights(Filtering filtering, const float* g, std::int64_t rows, bool rotated,
                       float* to, std::int64_t plane) {
  HWY_DYNAMIC_DISPATCH(TransformWeights)(filtering, g, rows, rotated, to, plane);
}

}  // namespace cmat::nn::frozen
#endif
