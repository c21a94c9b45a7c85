// What the files of inner loops share, compiled once for each instruction set: Highway includes a
// file like this again and again, with another HWY_TARGET each time.
#include "cmat/nn/frozen/kernels.h"

#if defined(CMAT_NN_FROZEN_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CMAT_NN_FROZEN_EPILOGUE_INL_H_
#undef CMAT_NN_FROZEN_EPILOGUE_INL_H_
#else
#define CMAT_NN_FROZEN_EPILOGUE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, kPanel>;
using Vector = hn::Vec<Floats>;
constexpr std::int64_t kLanes = hn::MaxLanes(Floats());

// Highway says that it may touch 8 bytes of a mask. Where it reads, they are there (kBytesBehind);
// what it writes goes through a place of its own, since the bytes behind belong to other pixels,
// and perhaps to other threads. A vector of 4 lanes is half of a byte.
HWY_INLINE hn::Mask<Floats> load_bits(const std::uint8_t* bits, std::int64_t at) {
  if constexpr (kLanes >= 8) return hn::LoadMaskBits(Floats(), bits + at / 8);
  const std::uint8_t part[8] = {static_cast<std::uint8_t>(bits[at / 8] >> at % 8)};
  return hn::LoadMaskBits(Floats(), part);
}

HWY_INLINE void store_bits(hn::Mask<Floats> mask, std::uint8_t* bits, std::int64_t at) {
  std::uint8_t part[8];
  hn::StoreMaskBits(Floats(), mask, part);
  if constexpr (kLanes >= 8) {
    std::memcpy(bits + at / 8, part, kLanes / 8);
    return;
  }
  const std::int64_t shift = at % 8, lanes = (1 << kLanes) - 1;
  std::uint8_t& byte = bits[at / 8];
  byte = static_cast<std::uint8_t>((byte & ~(lanes << shift)) | (part[0] & lanes) << shift);
}

/// An epilogue for the channels from `c` on.
class Finisher {
 public:
  Finisher(const Epilogue& e, std::int64_t c)
      : scale_(e.scale ? hn::Load(Floats(), e.scale + c) : hn::Set(Floats(), 1.0f)),
        bias_(e.bias ? hn::Load(Floats(), e.bias + c) : hn::Zero(Floats())),
        least_(hn::Set(Floats(), e.relu ? 0.0f : -std::numeric_limits<float>::infinity())),
        add_(e.add),
        mask_(e.mask),
        positive_(e.positive) {}

  /// `at` is the sum's offset in the output.
  HWY_INLINE Vector operator()(Vector sum, std::int64_t at) const {
    const Floats f;
    sum = hn::MulAdd(sum, scale_, bias_);
    if (add_) sum = hn::Add(sum, hn::Load(f, add_ + at));
    sum = hn::Max(least_, sum);  // in this order a NaN stays one, as torch's ReLU leaves it
    if (mask_) sum = hn::IfThenElseZero(load_bits(mask_, at), sum);
    if (positive_) store_bits(hn::Gt(sum, hn::Zero(f)), positive_, at);
    return sum;
  }

 private:
  Vector scale_, bias_, least_;
  const float* add_;
  const std::uint8_t* mask_;
  std::uint8_t* positive_;
};

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
