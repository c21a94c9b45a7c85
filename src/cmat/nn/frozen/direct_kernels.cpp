#include "cmat/nn/frozen/direct_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/direct_kernels.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/highway.h>

#include "cmat/nn/frozen/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

/// Copies `count` floats; writes whole vectors.
HWY_INLINE void copy(const float* from, std::int64_t count, float* to) {
  const Floats f;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(f, from + i), f, to + i);
  if (i == count) return;
  const auto rest = hn::FirstN(f, static_cast<std::size_t>(count - i));
  hn::StoreU(hn::MaskedLoad(rest, f, from + i), f, to + i);
}

/// Likewise, times the scale, which is padded.
HWY_INLINE void copy_times(const float* from, std::int64_t count, const float* scale, float* to) {
  const Floats f;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(f, from + i), hn::Load(f, scale + i)), f, to + i);
  }
  if (i == count) return;
  const auto rest = hn::FirstN(f, static_cast<std::size_t>(count - i));
  hn::StoreU(hn::Mul(hn::MaskedLoad(rest, f, from + i), hn::Load(f, scale + i)), f, to + i);
}

HWY_INLINE void fill_zero(std::int64_t count, float* to) {
  const Floats f;
  for (std::int64_t i = 0; i < count; i += kLanes) hn::StoreU(hn::Zero(f), f, to + i);
}

/// Walks over the places of a batch without a division a place.
class Walk {
 public:
  Walk(const Lattice& lattice, std::int64_t first)
      : lattice_(lattice),
        image(first / lattice.places()),
        i(first % lattice.places() / lattice.across),
        j(first % lattice.across) {}
  void next() {
    if (++j < lattice_.across) return;
    j = 0;
    if (++i < lattice_.down) return;
    i = 0;
    ++image;
  }

 private:
  const Lattice& lattice_;

 public:
  std::int64_t image, i, j;
};

/// Copies the pixels of a run, each times the scale.
HWY_INLINE void copy_run(const float* from, std::int64_t pixels, const Side& in, const float* scale,
                         float* to) {
  if (!scale) return copy(from, pixels * in.channels, to);
  for (std::int64_t p = 0; p < pixels; ++p) {
    copy_times(from + p * in.stride, in.channels, scale, to + p * in.channels);
  }
}

void Gather(const Lattice& lattice, const Taps& taps, const Side& in, const float* x,
            const float* scale, std::int64_t first, std::int64_t count, float* to,
            std::int64_t row) {
  Walk at(lattice, first);
  for (std::int64_t r = 0; r < count; ++r, at.next(), to += row) {
    const std::int64_t y = at.i * lattice.read, column = at.j * lattice.read;
    const float* from = x + at.image * in.floats() + (y * in.width + column) * in.stride;
    const bool inside = y + taps.top >= 0 && y + taps.bottom < in.height &&
                        column + taps.left >= 0 && column + taps.right < in.width;
    float* next = to;
    for (const Taps::Run& run : taps.runs) {
      if (inside) {
        copy_run(from + run.offset, run.pixels, in, scale, next);
        next += run.pixels * in.channels;
        continue;
      }
      const std::int64_t line = y + run.first.dy;
      for (std::int64_t p = 0; p < run.pixels; ++p, next += in.channels) {
        const std::int64_t here = column + run.first.dx + p;
        if (line >= 0 && line < in.height && here >= 0 && here < in.width) {
          copy_run(from + run.offset + p * in.stride, 1, in, scale, next);
        } else {
          fill_zero(in.channels, next);
        }
      }
    }
  }
}

/// Calls store(sums, offset) for every pixel that the places write: where its sums are and where it
/// belongs.
template <typename Store>
HWY_INLINE void for_each_pixel(const Lattice& lattice, const Side& out, const float* sums,
                               std::int64_t row, std::int64_t first, std::int64_t count,
                               const Store& store) {
  Walk at(lattice, first);
  for (std::int64_t r = 0; r < count; ++r, at.next(), sums += row) {
    const std::int64_t y = at.i * lattice.write, x = at.j * lattice.write;
    const std::int64_t pixel = at.image * out.floats() + (y * out.width + x) * out.stride;
    const float* from = sums;
    for (const Lattice::Offset& target : lattice.targets) {
      if (y + target.dy < out.height && x + target.dx < out.width) {
        store(from, pixel + (target.dy * out.width + target.dx) * out.stride);
      }
      from += out.channels;
    }
  }
}

void Scatter(const Lattice& lattice, const Side& out, const float* sums, std::int64_t row,
             std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  const Floats f;
  if (out.stride < kPanel) {  // an image's gradient: nothing but the sum
    for_each_pixel(lattice, out, sums, row, first, count,
                   [&](const float* from, std::int64_t pixel) HWY_ATTR {
                     for (std::int64_t c = 0; c < out.stride; c += kLanes) {
                       const auto rest = hn::FirstN(f, static_cast<std::size_t>(out.stride - c));
                       hn::BlendedStore(hn::LoadU(f, from + c), rest, f, y + pixel + c);
                     }
                   });
    return;
  }
  for_each_pixel(lattice, out, sums, row, first, count,
                 [&](const float* from, std::int64_t pixel) HWY_ATTR {
                   for (std::int64_t c = 0; c < out.stride; c += kLanes) {
                     const Finisher finisher(epilogue, c);
                     hn::Store(finisher(hn::LoadU(f, from + c), pixel + c), f, y + pixel + c);
                   }
                 });
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(Gather);
HWY_EXPORT(Scatter);

Taps::Taps(const Lattice& lattice, const Side& in) {
  const bool joined = in.stride == in.channels;
  for (const Lattice::Offset& tap : lattice.taps) {
    top = runs.empty() ? tap.dy : std::min(top, tap.dy);
    bottom = runs.empty() ? tap.dy : std::max(bottom, tap.dy);
    left = runs.empty() ? tap.dx : std::min(left, tap.dx);
    right = runs.empty() ? tap.dx : std::max(right, tap.dx);
    if (joined && !runs.empty() && runs.back().first.dy == tap.dy &&
        runs.back().first.dx + runs.back().pixels == tap.dx) {
      ++runs.back().pixels;
    } else {
      runs.push_back({tap, 1, (tap.dy * in.width + tap.dx) * in.stride});
    }
  }
}

void gather(const Lattice& lattice, const Taps& taps, const Side& in, const float* x,
            const float* scale, std::int64_t first, std::int64_t count, float* to,
            std::int64_t row) {
  HWY_DYNAMIC_DISPATCH(Gather)(lattice, taps, in, x, scale, first, count, to, row);
}

void scatter(const Lattice& lattice, const Side& out, const float* sums, std::int64_t row,
             std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  HWY_DYNAMIC_DISPATCH(Scatter)(lattice, out, sums, row, first, count, epilogue, y);
}

}  // namespace cmat::nn::frozen
#endif
