#include "cmat/nn/frozen/winograd_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/winograd_kernels.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "cmat/nn/frozen/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

HWY_INLINE Vector times(float factor, Vector x) { return hn::Mul(hn::Set(Floats(), factor), x); }
/// factor * x + y
HWY_INLINE Vector plus(float factor, Vector x, Vector y) {
  return hn::MulAdd(hn::Set(Floats(), factor), x, y);
}

/// B^T of a column d, every `Step`-th entry, into every `ToStep`-th of `to`.
template <std::int64_t M, std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void input_column(const Vector* d, Vector* to) {
  const Vector d0 = d[0], d1 = d[Step], d2 = d[2 * Step], d3 = d[3 * Step];
  if constexpr (M == 2) {
    to[0] = hn::Sub(d0, d2);
    to[ToStep] = hn::Add(d1, d2);
    to[2 * ToStep] = hn::Sub(d2, d1);
    to[3 * ToStep] = hn::Sub(d3, d1);
  } else {
    const Vector d4 = d[4 * Step], d5 = d[5 * Step];
    const Vector even = plus(-4, d2, d4), odd = plus(-4, d1, d3);
    const Vector even2 = hn::Sub(d4, d2), odd2 = times(2, hn::Sub(d3, d1));
    to[0] = plus(4, d0, plus(-5, d2, d4));
    to[ToStep] = hn::Add(even, odd);
    to[2 * ToStep] = hn::Sub(even, odd);
    to[3 * ToStep] = hn::Add(even2, odd2);
    to[4 * ToStep] = hn::Sub(even2, odd2);
    to[5 * ToStep] = plus(4, d1, plus(-5, d3, d5));
  }
}

/// A^T of a column of products.
template <std::int64_t M, std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void output_column(const Vector* p, Vector* to) {
  const Vector sum = hn::Add(p[Step], p[2 * Step]), difference = hn::Sub(p[Step], p[2 * Step]);
  if constexpr (M == 2) {
    to[0] = hn::Add(p[0], sum);
    to[ToStep] = hn::Add(difference, p[3 * Step]);
  } else {
    const Vector sum2 = hn::Add(p[3 * Step], p[4 * Step]);
    const Vector difference2 = hn::Sub(p[3 * Step], p[4 * Step]);
    to[0] = hn::Add(p[0], hn::Add(sum, sum2));
    to[ToStep] = plus(2, difference2, difference);
    to[2 * ToStep] = plus(4, sum2, sum);
    to[3 * ToStep] = hn::Add(plus(8, difference2, difference), p[5 * Step]);
  }
}

/// G of a column of a filter.
template <std::int64_t M, std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void weight_column(const Vector* g, Vector* to) {
  const Vector g0 = g[0], g1 = g[Step], g2 = g[2 * Step];
  if constexpr (M == 2) {
    const Vector ends = times(0.5f, hn::Add(g0, g2));
    to[0] = g0;
    to[ToStep] = plus(0.5f, g1, ends);
    to[2 * ToStep] = plus(-0.5f, g1, ends);
    to[3 * ToStep] = g2;
  } else {
    const Vector ends = times(-1.0f / 6, hn::Add(g0, g2));
    const Vector far = plus(1.0f / 24, g0, times(1.0f / 6, g2));
    to[0] = times(0.25f, g0);
    to[ToStep] = plus(-1.0f / 6, g1, ends);
    to[2 * ToStep] = plus(1.0f / 6, g1, ends);
    to[3 * ToStep] = plus(1.0f / 12, g1, far);
    to[4 * ToStep] = plus(-1.0f / 12, g1, far);
    to[5 * ToStep] = g2;
  }
}

/// A tile's place in the batch.
struct Place {
  Place(const TileGrid& grid, std::int64_t tile)
      : image(tile / grid.tiles()),
        top(tile / grid.across % grid.down * grid.m),
        left(tile % grid.across * grid.m) {}
  std::int64_t image, top, left;
};

template <std::int64_t M>
void transform_input_tile(const TileGrid& grid, const float* x, std::int64_t channels,
                          const float* scale, std::int64_t tile, float* to, std::int64_t plane) {
  constexpr std::int64_t kSide = M + 2;
  const Floats f;
  const Place place(grid, tile);
  const float* corner =
      x + ((place.image * grid.height + place.top - 1) * grid.width + place.left - 1) * channels;
  const std::int64_t line = grid.width * channels;
  // Of the tile's rows and columns, those inside the image.
  const std::int64_t first_row = place.top == 0, first_column = place.left == 0;
  const std::int64_t last_row = HWY_MIN(kSide, grid.height - place.top + 1);
  const std::int64_t last_column = HWY_MIN(kSide, grid.width - place.left + 1);
  const bool inside = first_row + first_column == 0 && last_row == kSide && last_column == kSide;
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    Vector d[kSide * kSide], rows[kSide * kSide];
    if (inside) {
#pragma GCC unroll 6
      for (std::int64_t i = 0; i < kSide; ++i) {
#pragma GCC unroll 6
        for (std::int64_t j = 0; j < kSide; ++j) {
          d[i * kSide + j] = hn::Load(f, corner + i * line + j * channels + c);
        }
      }
    } else {
#pragma GCC unroll 6
      for (std::int64_t i = 0; i < kSide; ++i) {
        const bool in = i >= first_row && i < last_row;
#pragma GCC unroll 6
        for (std::int64_t j = 0; j < kSide; ++j) {
          d[i * kSide + j] = in && j >= first_column && j < last_column
                                 ? hn::Load(f, corner + i * line + j * channels + c)
                                 : hn::Zero(f);
        }
      }
    }
    if (scale) {  // the transform is linear, and a channel's scale the same for the whole tile
      const Vector s = hn::Load(f, scale + c);
#pragma GCC unroll 36
      for (std::int64_t i = 0; i < kSide * kSide; ++i) d[i] = hn::Mul(d[i], s);
    }
#pragma GCC unroll 6
    for (std::int64_t j = 0; j < kSide; ++j) input_column<M, kSide, kSide>(d + j, rows + j);
#pragma GCC unroll 6
    for (std::int64_t i = 0; i < kSide; ++i) {
      Vector row[kSide];
      input_column<M, 1, 1>(rows + i * kSide, row);
#pragma GCC unroll 6
      for (std::int64_t j = 0; j < kSide; ++j) {
        hn::Store(row[j], f, to + (i * kSide + j) * plane + c);
      }
    }
  }
}

/// Pixels of fewer floats than a panel's: nothing but the sum (an image's gradient).
template <std::int64_t M>
HWY_INLINE void store_narrow(const Vector* out, std::int64_t c, std::int64_t rows,
                             std::int64_t columns, std::int64_t width, float* y,
                             std::int64_t stride) {
  const Floats f;
  if (c >= stride) return;
  const auto rest = hn::FirstN(f, static_cast<std::size_t>(stride - c));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      hn::BlendedStore(out[i * M + j], rest, f, y + (i * width + j) * stride + c);
    }
  }
}

template <std::int64_t M>
void transform_output_tile(const TileGrid& grid, const float* products, std::int64_t plane,
                           std::int64_t channels, std::int64_t tile, const Epilogue& epilogue,
                           float* y, std::int64_t stride) {
  constexpr std::int64_t kSide = M + 2;
  const Floats f;
  const Place place(grid, tile);
  const std::int64_t rows = HWY_MIN(M, grid.height - place.top);
  const std::int64_t columns = HWY_MIN(M, grid.width - place.left);
  const std::int64_t corner = (place.image * grid.height + place.top) * grid.width + place.left;
  for (std::int64_t c = 0; c < padded(channels); c += kLanes) {
    Vector halves[M * kSide], out[M * M];
#pragma GCC unroll 6
    for (std::int64_t j = 0; j < kSide; ++j) {
      Vector column[kSide];
#pragma GCC unroll 6
      for (std::int64_t i = 0; i < kSide; ++i) {
        column[i] = hn::Load(f, products + (i * kSide + j) * plane + c);
      }
      output_column<M, 1, kSide>(column, halves + j);
    }
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < M; ++i) output_column<M, 1, 1>(halves + i * kSide, out + i * M);
    if (stride < kPanel) {
      store_narrow<M>(out, c, rows, columns, grid.width, y + corner * stride, stride);
      continue;
    }
    const Finisher finisher(epilogue, c);
    const std::int64_t at = corner * stride + c, line = grid.width * stride;
    if (rows == M && columns == M) {
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < M; ++i) {
#pragma GCC unroll 4
        for (std::int64_t j = 0; j < M; ++j) {
          const std::int64_t here = at + i * line + j * stride;
          hn::Store(finisher(out[i * M + j], here), f, y + here);
        }
      }
      continue;
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::int64_t here = at + i * line + j * stride;
        hn::Store(finisher(out[i * M + j], here), f, y + here);
      }
    }
  }
}

void TransformInput(const TileGrid& grid, const float* x, std::int64_t channels, const float* scale,
                    std::int64_t first, std::int64_t count, float* to, std::int64_t plane) {
  for (std::int64_t t = 0; t < count; ++t, to += channels) {
    if (grid.m == 4) {
      transform_input_tile<4>(grid, x, channels, scale, first + t, to, plane);
    } else {
      transform_input_tile<2>(grid, x, channels, scale, first + t, to, plane);
    }
  }
}

void TransformOutput(const TileGrid& grid, const float* products, std::int64_t plane,
                     std::int64_t channels, std::int64_t first, std::int64_t count,
                     const Epilogue& epilogue, float* y, std::int64_t stride) {
  for (std::int64_t t = 0; t < count; ++t, products += padded(channels)) {
    if (grid.m == 4) {
      transform_output_tile<4>(grid, products, plane, channels, first + t, epilogue, y, stride);
    } else {
      transform_output_tile<2>(grid, products, plane, channels, first + t, epilogue, y, stride);
    }
  }
}

template <std::int64_t M>
void transform_filters(const float* g, std::int64_t rows, bool rotated, float* to,
                       std::int64_t plane) {
  constexpr std::int64_t kSide = M + 2;
  const Floats f;
  for (std::int64_t o = 0; o < rows; ++o, g += 9 * kPanel, to += kPanel) {
    for (std::int64_t c = 0; c < kPanel; c += kLanes) {
      Vector taps[9], half[kSide * 3];
#pragma GCC unroll 9
      for (std::int64_t t = 0; t < 9; ++t) {
        taps[t] = hn::LoadU(f, g + (rotated ? 8 - t : t) * kPanel + c);
      }
#pragma GCC unroll 3
      for (std::int64_t j = 0; j < 3; ++j) weight_column<M, 3, 3>(taps + j, half + j);
#pragma GCC unroll 6
      for (std::int64_t i = 0; i < kSide; ++i) {
        Vector row[kSide];
        weight_column<M, 1, 1>(half + i * 3, row);
#pragma GCC unroll 6
        for (std::int64_t j = 0; j < kSide; ++j) {
          // Past the cache: the transformed weights of a network are larger than any.
          hn::Stream(row[j], f, to + (i * kSide + j) * plane + c);
        }
      }
    }
  }
}

void TransformWeights(std::int64_t m, const float* g, std::int64_t rows, bool rotated, float* to,
                      std::int64_t plane) {
  if (m == 4) {
    transform_filters<4>(g, rows, rotated, to, plane);
  } else {
    transform_filters<2>(g, rows, rotated, to, plane);
  }
  hwy::FlushStream();
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(TransformInput);
HWY_EXPORT(TransformOutput);
HWY_EXPORT(TransformWeights);

void transform_input(const TileGrid& grid, const float* x, std::int64_t channels,
                     const float* scale, std::int64_t first, std::int64_t count, float* to,
                     std::int64_t plane) {
  HWY_DYNAMIC_DISPATCH(TransformInput)(grid, x, channels, scale, first, count, to, plane);
}

void transform_output(const TileGrid& grid, const float* products, std::int64_t plane,
                      std::int64_t channels, std::int64_t first, std::int64_t count,
                      const Epilogue& epilogue, float* y, std::int64_t stride) {
  HWY_DYNAMIC_DISPATCH(TransformOutput)
  (grid, products, plane, channels, first, count, epilogue, y, stride);
}

void transform_weights(std::int64_t m, const float* g, std::int64_t rows, bool rotated, float* to,
                       std::int64_t plane) {
  HWY_DYNAMIC_DISPATCH(TransformWeights)(m, g, rows, rotated, to, plane);
}

}  // namespace cmat::nn::frozen
#endif
