// The transforms of winograd_kernels.h along one side: a column of vectors into another, every
// `Step`-th entry into every `ToStep`-th of `to`.
#include "cmat/nn/frozen/epilogue-inl.h"
#include "cmat/nn/frozen/winograd_kernels.h"

#if defined(CMAT_NN_FROZEN_WINOGRAD_COLUMNS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CMAT_NN_FROZEN_WINOGRAD_COLUMNS_INL_H_
#undef CMAT_NN_FROZEN_WINOGRAD_COLUMNS_INL_H_
#else
#define CMAT_NN_FROZEN_WINOGRAD_COLUMNS_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

HWY_INLINE Vector times(float factor, Vector x) { return hn::Mul(hn::Set(Floats(), factor), x); }
/// factor * x + y
HWY_INLINE Vector plus(float factor, Vector x, Vector y) {
  return hn::MulAdd(hn::Set(Floats(), factor), x, y);
}

/// The inverse of four_outputs for the points 0, 1, -1 and 2. Returns the last, from which the
/// point at infinity follows.
template <std::int64_t Step, std::int64_t ToStep>
HWY_INLINE Vector four_points(const Vector* d, Vector* to) {
  const Vector d0 = d[0], d1 = d[Step], d2 = d[2 * Step], d3 = d[3 * Step];
  const Vector last = times(1.0f / 6, hn::Sub(d3, d1));
  to[0] = plus(3, last, hn::Sub(d0, d2));
  to[ToStep] = plus(-3, last, times(0.5f, hn::Add(d1, d2)));
  to[2 * ToStep] = hn::Sub(times(0.5f, hn::Sub(d2, d1)), last);
  to[3 * ToStep] = last;
  return last;
}

template <std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void five_points(const Vector* d, Vector* to) {
  const Vector last = four_points<Step, ToStep>(d, to);
  to[4 * ToStep] = plus(-12, last, hn::Sub(d[4 * Step], d[2 * Step]));
}

template <std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void four_outputs(const Vector* p, Vector* to) {
  const Vector sum = hn::Add(p[Step], p[2 * Step]), difference = hn::Sub(p[Step], p[2 * Step]);
  const Vector p3 = p[3 * Step];
  to[0] = hn::Add(hn::Add(p[0], sum), p3);
  to[ToStep] = plus(2, p3, difference);
  to[2 * ToStep] = plus(4, p3, sum);
  to[3 * ToStep] = plus(8, p3, difference);
}

/// B^T of a column of a window.
template <Filtering F, std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void input_column(const Vector* d, Vector* to) {
  if constexpr (F == Filtering::strided) {
    five_points<2 * Step, ToStep>(d, to);
    four_points<2 * Step, ToStep>(d + Step, to + 5 * ToStep);
  } else if constexpr (F == Filtering::strided_gradient) {
    five_points<Step, ToStep>(d, to);
  } else if constexpr (F == Filtering::two) {
    const Vector d0 = d[0], d1 = d[Step], d2 = d[2 * Step], d3 = d[3 * Step];
    to[0] = hn::Sub(d0, d2);
    to[ToStep] = hn::Add(d1, d2);
    to[2 * ToStep] = hn::Sub(d2, d1);
    to[3 * ToStep] = hn::Sub(d3, d1);
  } else {
    const Vector d0 = d[0], d1 = d[Step], d2 = d[2 * Step], d3 = d[3 * Step];
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
template <Filtering F, std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void output_column(const Vector* p, Vector* to) {
  if constexpr (F == Filtering::strided) {
    four_outputs<Step, ToStep>(p, to);
    to[3 * ToStep] = hn::Add(to[3 * ToStep], p[4 * Step]);
  } else if constexpr (F == Filtering::strided_gradient) {
    four_outputs<Step, 2 * ToStep>(p, to + ToStep);
    to[7 * ToStep] = hn::Add(to[7 * ToStep], p[4 * Step]);
    four_outputs<Step, 2 * ToStep>(p + 5 * Step, to);
  } else {
    const Vector sum = hn::Add(p[Step], p[2 * Step]), difference = hn::Sub(p[Step], p[2 * Step]);
    if constexpr (F == Filtering::two) {
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
}

/// G of a column of a filter.
template <Filtering F, std::int64_t Step, std::int64_t ToStep>
HWY_INLINE void weight_column(const Vector* g, Vector* to) {
  const Vector g0 = g[0], g1 = g[Step], g2 = g[2 * Step];
  if constexpr (F == Filtering::two) {
    const Vector ends = times(0.5f, hn::Add(g0, g2));
    to[0] = g0;
    to[ToStep] = plus(0.5f, g1, ends);
    to[2 * ToStep] = plus(-0.5f, g1, ends);
    to[3 * ToStep] = g2;
  } else if constexpr (F == Filtering::four) {
    const Vector ends = times(-1.0f / 6, hn::Add(g0, g2));
    const Vector far = plus(1.0f / 24, g0, times(1.0f / 6, g2));
    to[0] = times(0.25f, g0);
    to[ToStep] = plus(-1.0f / 6, g1, ends);
    to[2 * ToStep] = plus(1.0f / 6, g1, ends);
    to[3 * ToStep] = plus(1.0f / 12, g1, far);
    to[4 * ToStep] = plus(-1.0f / 12, g1, far);
    to[5 * ToStep] = g2;
  } else {  // the outer taps at the five points, and the middle one
    to[0] = g0;
    to[ToStep] = hn::Add(g0, g2);
    to[2 * ToStep] = hn::Sub(g0, g2);
    to[3 * ToStep] = plus(2, g2, g0);
    to[4 * ToStep] = g2;
    to[5 * ToStep] = g1;
  }
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
