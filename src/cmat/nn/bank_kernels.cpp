#include "cmat/nn/bank_kernels.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "cmat/core/error.h"
#include "cmat/nn/multiversion.h"

namespace cmat::nn {
namespace {

constexpr std::int64_t kGrain = 16384;

template <typename T>
struct Pointers {
  T *values, *momentum, *effective, *scores, *score_m, *score_v, *average_values, *average_scores;
  const T* gradient;
  const std::uint8_t* owners;
};

template <typename T>
struct Coefficients {
  T lr, momentum, weight_decay, nesterov;  // nesterov: 1 or 0
  T pick_step, beta1, beta2, eps, bias2_root, threshold, average_rate;
  bool train_picks;
};

constexpr std::int64_t kBlock = 64;  // one cache line of owners

template <typename T>
using Word = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

/// Which entries of a block are whose: all bits set, or none.
template <typename T>
struct Masks {
  Word<T> own[kBlock], older[kBlock];
};

// Owners alternate from entry to entry, and a branch on them is mispredicted every other time. So
// each loop computes every entry of its block and keeps the old number where the entry is not
// meant: the same bits, and code that the compiler turns into vectors. It does so for choices made
// of bits; a conditional expression it may turn back into a branch.

template <typename T>
inline __attribute__((always_inline)) T choose(Word<T> mask, T yes, T no) {
  return std::bit_cast<T>((std::bit_cast<Word<T>>(yes) & mask) |
                          (std::bit_cast<Word<T>>(no) & ~mask));
}

template <bool kAverage, typename T>
inline __attribute__((always_inline)) void update_own(const Pointers<T>& p,
                                                      const Coefficients<T>& coefficients,
                                                      const Masks<T>& masks, std::int64_t at,
                                                      std::int64_t count) {
  T* __restrict values = p.values + at;
  T* __restrict momentum = p.momentum + at;
  T* __restrict effective = p.effective + at;
  T* __restrict average = kAverage ? p.average_values + at : nullptr;
  const T* __restrict gradient = p.gradient + at;
  const Coefficients<T> c = coefficients;  // by value: nothing stored can change them
  const Word<T> nesterov = -Word<T>(c.nesterov != 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const Word<T> own = masks.own[i];
    const T g = gradient[i] + c.weight_decay * values[i];
    const T v = c.momentum * momentum[i] + g;
    const T w = values[i] - c.lr * choose<T>(nesterov, g + c.momentum * v, v);
    momentum[i] = choose<T>(own, v, momentum[i]);
    values[i] = choose<T>(own, w, values[i]);
    effective[i] = choose<T>(own, w, effective[i]);
    if constexpr (kAverage) {
      const T moved = average[i] + c.average_rate * (w - average[i]);
      average[i] = choose<T>(own, moved, average[i]);
    }
  }
}

/// `to` := `from` where the mask is set.
template <typename T>
inline __attribute__((always_inline)) void assign_where(const Word<T>* mask, T* __restrict to,
                                                        const T* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = choose<T>(mask[i], from[i], to[i]);
}

/// Adam for the scores of a block. Computed first and stored afterwards: as one loop it is too much
/// for GCC 12 to make vectors of.
template <typename T>
inline __attribute__((always_inline)) void train_picks(const Pointers<T>& p,
                                                       const Coefficients<T>& coefficients,
                                                       const Word<T>* older, std::int64_t at,
                                                       std::int64_t count) {
  const T* __restrict scores = p.scores + at;
  const T* __restrict score_m = p.score_m + at;
  const T* __restrict score_v = p.score_v + at;
  const T* __restrict values = p.values + at;
  const T* __restrict gradient = p.gradient + at;
  const Coefficients<T> c = coefficients;
  T new_m[kBlock], new_v[kBlock], new_scores[kBlock];
  for (std::int64_t i = 0; i < count; ++i) {
    const T g = gradient[i] * values[i];
    const T m = c.beta1 * score_m[i] + (1 - c.beta1) * g;
    const T v = c.beta2 * score_v[i] + (1 - c.beta2) * g * g;
    new_m[i] = m;
    new_v[i] = v;
    new_scores[i] = scores[i] - c.pick_step * m / (std::sqrt(v) / c.bias2_root + c.eps);
  }
  assign_where(older, p.score_m + at, new_m, count);
  assign_where(older, p.score_v + at, new_v, count);
  assign_where(older, p.scores + at, new_scores, count);
}

template <bool kTrain, bool kAverage, typename T>
inline __attribute__((always_inline)) void update_older(const Pointers<T>& p,
                                                        const Coefficients<T>& c,
                                                        const Masks<T>& masks, std::int64_t at,
                                                        std::int64_t count) {
  if constexpr (kTrain) train_picks(p, c, masks.older, at, count);
  const T* __restrict scores = p.scores + at;
  const T* __restrict values = p.values + at;
  T* __restrict effective = p.effective + at;
  T* __restrict average = kAverage ? p.average_scores + at : nullptr;
  const T threshold = c.threshold, rate = c.average_rate;
  for (std::int64_t i = 0; i < count; ++i) {
    const Word<T> older = masks.older[i];
    const T picked = choose<T>(-Word<T>(scores[i] > threshold), values[i], T(0));
    effective[i] = choose<T>(older, picked, effective[i]);
    if constexpr (kAverage) {
      const T moved = average[i] + rate * (scores[i] - average[i]);
      average[i] = choose<T>(older, moved, average[i]);
    }
  }
}

template <bool kTrain, bool kAverage, typename T>
inline __attribute__((always_inline)) void update_blocks(const Pointers<T>& p,
                                                         const Coefficients<T>& c, int task,
                                                         std::int64_t begin, std::int64_t end) {
  const bool picks = p.scores != nullptr;
  Masks<T> masks;
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t count = std::min(kBlock, end - at);
    Word<T> own = 0, older = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Word<T> owner = p.owners[at + i];
      masks.own[i] = -Word<T>(owner == task);
      masks.older[i] = -(Word<T>(owner != 0) & Word<T>(owner < task));
      own |= masks.own[i];
      older |= masks.older[i];
    }
    if (own != 0) update_own<kAverage>(p, c, masks, at, count);
    if (older != 0 && picks) update_older<kTrain, kAverage>(p, c, masks, at, count);
  }
}

template <typename T>
inline __attribute__((always_inline)) void update_range(const Pointers<T>& p,
                                                        const Coefficients<T>& c, int task,
                                                        std::int64_t begin, std::int64_t end) {
  const bool average = p.average_values != nullptr;
  if (c.train_picks && average)
    update_blocks<true, true>(p, c, task, begin, end);
  else if (c.train_picks)
    update_blocks<true, false>(p, c, task, begin, end);
  else if (average)
    update_blocks<false, true>(p, c, task, begin, end);
  else
    update_blocks<false, false>(p, c, task, begin, end);
}

CMAT_MULTIVERSION void update_float(const Pointers<float>& p, const Coefficients<float>& c,
                                    int task, std::int64_t begin, std::int64_t end) {
  update_range(p, c, task, begin, end);
}

CMAT_MULTIVERSION void update_double(const Pointers<double>& p, const Coefficients<double>& c,
                                     int task, std::int64_t begin, std::int64_t end) {
  update_range(p, c, task, begin, end);
}

void update_chunk(const Pointers<float>& p, const Coefficients<float>& c, int task, std::int64_t b,
                  std::int64_t e) {
  update_float(p, c, task, b, e);
}
void update_chunk(const Pointers<double>& p, const Coefficients<double>& c, int task,
                  std::int64_t b, std::int64_t e) {
  update_double(p, c, task, b, e);
}

template <typename T>
T* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
}

template <typename T>
Coefficients<T> coefficients(const UpdateOptions& o) {
  const double bias1 = 1 - std::pow(o.adam.beta1, static_cast<double>(o.adam_step));
  const double bias2 = 1 - std::pow(o.adam.beta2, static_cast<double>(o.adam_step));
  return {
      T(o.sgd.lr),          T(o.sgd.momentum),   T(o.sgd.weight_decay),  T(o.sgd.nesterov ? 1 : 0),
      T(o.adam.lr / bias1), T(o.adam.beta1),     T(o.adam.beta2),        T(o.adam.eps),
      T(std::sqrt(bias2)),  T(o.pick_threshold), T(1 - o.average_decay), o.train_picks};
}

template <typename T>
void update_on_cpu(BankTensors& s, const at::Tensor& gradient, const UpdateOptions& options) {
  const Pointers<T> p{pointer<T>(s.values),         pointer<T>(s.momentum),
                      pointer<T>(s.effective),      pointer<T>(s.scores),
                      pointer<T>(s.score_m),        pointer<T>(s.score_v),
                      pointer<T>(s.average_values), pointer<T>(s.average_scores),
                      gradient.const_data_ptr<T>(), s.owners.const_data_ptr<std::uint8_t>()};
  const Coefficients<T> c = coefficients<T>(options);
  at::parallel_for(0, s.values.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    update_chunk(p, c, options.task, begin, end);
  });
}

void require_same_layout(const at::Tensor& tensor, const at::Tensor& reference) {
  if (tensor.defined() &&
      (tensor.sizes() != reference.sizes() || tensor.strides() != reference.strides())) {
    throw std::logic_error("bank tensors differ in layout");
  }
}

}  // namespace

void update(BankTensors& s, const at::Tensor& gradient, const UpdateOptions& options) {
  if (!s.values.is_cpu()) return update_by_tensor_operations(s, gradient, options);
  // Autograd may hand back a gradient in another memory format than its weight's.
  at::Tensor g = gradient;
  if (g.strides() != s.values.strides() || g.scalar_type() != s.values.scalar_type()) {
    g = at::empty_like(s.values).copy_(gradient);
  }
  for (const at::Tensor& t : {s.owners, s.momentum, s.effective, s.scores, s.score_m, s.score_v,
                              s.average_values, s.average_scores}) {
    require_same_layout(t, s.values);
  }
  if (s.values.scalar_type() == at::kDouble)
    update_on_cpu<double>(s, g, options);
  else
    update_on_cpu<float>(s, g, options);
}

void update_by_tensor_operations(BankTensors& s, const at::Tensor& gradient,
                                 const UpdateOptions& o) {
  const at::Tensor own = s.owners.eq(o.task);
  const at::Tensor g = gradient.add(s.values, o.sgd.weight_decay);
  const at::Tensor v = s.momentum.mul(o.sgd.momentum).add_(g);
  const at::Tensor direction = o.sgd.nesterov ? g.add(v, o.sgd.momentum) : v;
  const at::Tensor older = s.owners.gt(0).logical_and_(s.owners.lt(o.task));
  if (s.scores.defined() && o.train_picks) {
    const Coefficients<double> c = coefficients<double>(o);
    const at::Tensor pick_gradient = gradient.mul(s.values);
    const at::Tensor m = s.score_m.mul(c.beta1).add_(pick_gradient, 1 - c.beta1);
    const at::Tensor second =
        s.score_v.mul(c.beta2).addcmul_(pick_gradient, pick_gradient, 1 - c.beta2);
    s.score_m.copy_(at::where(older, m, s.score_m));
    s.score_v.copy_(at::where(older, second, s.score_v));
    const at::Tensor denominator = second.sqrt().div_(c.bias2_root).add_(c.eps);
    s.scores.copy_(at::where(older, s.scores.addcdiv(m, denominator, -c.pick_step), s.scores));
  }
  s.momentum.copy_(at::where(own, v, s.momentum));
  s.values.copy_(at::where(own, s.values.sub(direction, o.sgd.lr), s.values));
  const double rate = 1 - o.average_decay;
  if (s.average_values.defined()) {
    s.average_values.copy_(at::where(own, s.average_values.lerp(s.values, rate), s.average_values));
  }
  if (s.average_scores.defined()) {
    s.average_scores.copy_(
        at::where(older, s.average_scores.lerp(s.scores, rate), s.average_scores));
  }
  compose(s.values, s.owners, s.scores, o.task, o.pick_threshold, s.effective);
}

void compose(const at::Tensor& values, const at::Tensor& owners, const at::Tensor& scores, int task,
             double pick_threshold, const at::Tensor& effective) {
  const at::Tensor own = owners.eq(task);
  at::Tensor used = owners.gt(0).logical_and_(owners.lt(task));
  if (scores.defined()) used = used.logical_and_(scores.gt(pick_threshold));
  effective.copy_(at::where(own.logical_or_(used), values, at::zeros({}, values.options())));
}

}  // namespace cmat::nn
