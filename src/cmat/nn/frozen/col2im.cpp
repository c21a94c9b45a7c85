#include "cmat/nn/frozen/col2im.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/col2im.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/highway.h>

#include "cmat/nn/frozen/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

/// Pixels are made in groups of `stride`, which the same taps fall on: taps 0 .. stride - 1 of one
/// place, the next `stride` of the place before it, and so on; the last may be fewer. A group is
/// written in whole vectors, and the group after it writes over what is too much.
void Col2im(const TapSums& taps, const float* sums, std::int64_t first, std::int64_t last,
            float* line, float* to) {
  const Floats f;
  const std::int64_t group = taps.stride * taps.image.channels;
  const std::int64_t senders = (taps.kernel + taps.stride - 1) / taps.stride;  ///< of a group
  const std::int64_t fewer = (taps.kernel - (senders - 1) * taps.stride) * taps.image.channels;
  const std::int64_t groups = (taps.image.width + taps.padding + taps.stride - 1) / taps.stride;
  const std::int64_t width = taps.image.width * taps.image.channels;
  const std::int64_t begin = taps.senders(first, last).begin;
  for (std::int64_t y = first; y < last; ++y, to += width) {
    const auto [top, end] = taps.senders(y, y + 1);
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t nearest = HWY_MAX(0, g - taps.across + 1);
      const std::int64_t farthest = HWY_MIN(senders - 1, g);
      for (std::int64_t c = 0; c < group; c += kLanes) {
        const auto rest = hn::FirstN(f, static_cast<std::size_t>(HWY_MAX(0, fewer - c)));
        Vector sum = hn::Zero(f);
        for (std::int64_t i = top; i < end; ++i) {
          const std::int64_t ky = y + taps.padding - i * taps.stride;
          const float* from = sums + ((i - begin) * taps.across + g) * taps.row +
                              ky * taps.kernel * taps.image.channels + c;
          for (std::int64_t m = nearest; m <= farthest; ++m) {
            const float* at = from - m * taps.row + m * group;
            sum = hn::Add(sum, m + 1 < senders ? hn::LoadU(f, at) : hn::MaskedLoad(rest, f, at));
          }
        }
        hn::StoreU(sum, f, line + g * group + c);
      }
    }
    std::copy_n(line + taps.padding * taps.image.channels, width, to);
  }
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(Col2im);

TapSums::Rows TapSums::senders(std::int64_t first, std::int64_t last) const {
  // Place i sends to the rows i * stride - padding and the kernel - 1 after it.
  const std::int64_t begin = std::max<std::int64_t>(0, first + padding - kernel + stride) / stride;
  const std::int64_t end = std::min(down, (last - 1 + padding) / stride + 1);
  return {std::min(begin, end), end};
}

std::int64_t TapSums::line() const {
  return (image.width + padding + stride) * image.channels + kPanel;
}

void col2im(const TapSums& taps, const float* sums, std::int64_t first, std::int64_t last,
            float* line, float* to) {
  HWY_DYNAMIC_DISPATCH(Col2im)(taps, sums, first, last, line, to);
}

}  // namespace cmat::nn::frozen
#endif
