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

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, kPanel>;
using Vector = hn::Vec<Floats>;
constexpr std::int64_t kLanes = hn::MaxLanes(Floats());

/// A sum as Epilogue says; `c` is its channel and `at` its offset in the output.
HWY_INLINE Vector finished(Vector sum, const Epilogue& e, std::int64_t c, std::int64_t at) {
  const Floats f;
  if (e.scale) sum = hn::Mul(sum, hn::Load(f, e.scale + c));
  if (e.bias) sum = hn::Add(sum, hn::Load(f, e.bias + c));
  if (e.add) sum = hn::Add(sum, hn::Load(f, e.add + at));
  // A NaN stays one, as torch's ReLU leaves it.
  if (e.relu) sum = hn::IfThenElseZero(hn::Not(hn::Lt(sum, hn::Zero(f))), sum);
  if (e.mask) sum = hn::IfThenElseZero(hn::Gt(hn::Load(f, e.mask + at), hn::Zero(f)), sum);
  return sum;
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
