#include "cmat/nn/frozen/direct_kernels.h"

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

HWY_INLINE void copy_times(const float* from, std::int64_t count, const float* scale, float* to) {
  const Floats f;
  for (std::int64_t i = 0; i < count; i += kLanes) {  // scale is padded
    const auto rest = hn::FirstN(f, static_cast<std::size_t>(count - i));
    const Vector x = hn::MaskedLoad(rest, f, from + i);
    hn::StoreU(hn::Mul(x, hn::LoadU(f, scale + i)), f, to + i);
  }
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

void Gather(const Lattice& lattice, const Side& in, const float* x, const float* scale,
            std::int64_t first, std::int64_t count, float* to, std::int64_t row) {
  const std::size_t taps = lattice.taps.size();
  // Neighbouring pixels lie side by side where no padding is between them.
  const bool joined = !scale && in.stride == in.channels;
  Walk at(lattice, first);
  for (std::int64_t r = 0; r < count; ++r, at.next(), to += row) {
    const float* image = x + at.image * in.floats();
    const std::int64_t top = at.i * lattice.read, left = at.j * lattice.read;
    float* next = to;
    for (std::size_t t = 0; t < taps;) {
      const std::int64_t y = top + lattice.taps[t].dy, column = left + lattice.taps[t].dx;
      if (y < 0 || y >= in.height || column < 0 || column >= in.width) {
        fill_zero(in.channels, next);
        next += in.channels;
        ++t;
        continue;
      }
      const float* from = image + (y * in.width + column) * in.stride;
      std::int64_t run = 1;
      if (joined) {
        const std::size_t here = t;
        while (here + static_cast<std::size_t>(run) < taps && column + run < in.width &&
               lattice.taps[here + static_cast<std::size_t>(run)].dy == lattice.taps[here].dy &&
               lattice.taps[here + static_cast<std::size_t>(run)].dx ==
                   lattice.taps[here].dx + run) {
          ++run;
        }
      }
      if (scale) {
        copy_times(from, in.channels, scale, next);
      } else {
        copy(from, run * in.channels, next);
      }
      next += run * in.channels;
      t += static_cast<std::size_t>(run);
    }
  }
}

void Scatter(const Lattice& lattice, const Side& out, const float* sums, std::int64_t row,
             std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  const Floats f;
  Walk at(lattice, first);
  for (std::int64_t r = 0; r < count; ++r, at.next(), sums += row) {
    const float* from = sums;
    for (const Lattice::Offset& target : lattice.targets) {
      const std::int64_t line = at.i * lattice.write + target.dy;
      const std::int64_t column = at.j * lattice.write + target.dx;
      const std::int64_t pixel =
          at.image * out.floats() + (line * out.width + column) * out.stride;
      if (line < out.height && column < out.width) {
        if (out.stride < kPanel) {
          for (std::int64_t c = 0; c < out.channels; ++c) y[pixel + c] = from[c];
        } else {
          for (std::int64_t c = 0; c < out.stride; c += kLanes) {
            hn::Store(finished(hn::LoadU(f, from + c), epilogue, c, pixel + c), f, y + pixel + c);
          }
        }
      }
      from += out.channels;
    }
  }
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(Gather);
HWY_EXPORT(Scatter);

void gather(const Lattice& lattice, const Side& in, const float* x, const float* scale,
            std::int64_t first, std::int64_t count, float* to, std::int64_t row) {
  HWY_DYNAMIC_DISPATCH(Gather)(lattice, in, x, scale, first, count, to, row);
}

void scatter(const Lattice& lattice, const Side& out, const float* sums, std::int64_t row,
             std::int64_t first, std::int64_t count, const Epilogue& epilogue, float* y) {
  HWY_DYNAMIC_DISPATCH(Scatter)(lattice, out, sums, row, first, count, epilogue, y);
}

}  // namespace cmat::nn::frozen
#endif
