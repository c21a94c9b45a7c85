#include "cmat/attack/linf_step.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include "cmat/attack/linf_values.h"
#include "cmat/attack/rows.h"
#include "cmat/nn/multiversion.h"

namespace cmat::attack {
namespace {

template <typename T>
struct Values {
  const T *x, *dx, *images;
  T eps, step;
  T* next;
};

template <typename T>
inline __attribute__((always_inline)) void step_values(const Values<T>& v, std::int64_t begin,
                                                       std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    v.next[i] = LinfInterval<T>(v.images[i], v.eps).nearest(v.x[i] + sign_of(v.dx[i]) * v.step);
  }
}

CMAT_MULTIVERSION void step_float(const Values<float>& v, std::int64_t begin, std::int64_t end) {
  step_values(v, begin, end);
}
CMAT_MULTIVERSION void step_double(const Values<double>& v, std::int64_t begin, std::int64_t end) {
  step_values(v, begin, end);
}

template <typename T>
at::Tensor step_all(const Projector& project_back, const at::Tensor& x, const at::Tensor& dx,
                    double step, void (*loop)(const Values<T>&, std::int64_t, std::int64_t)) {
  at::Tensor next = at::empty_like(x);
  const Values<T> v{x.const_data_ptr<T>(),
                    dx.const_data_ptr<T>(),
                    project_back.images().const_data_ptr<T>(),
                    static_cast<T>(project_back.eps_pixels()),
                    static_cast<T>(step),
                    next.data_ptr<T>()};
  at::parallel_for(0, x.numel(), kValuesAThread,
                   [&](std::int64_t b, std::int64_t e) { loop(v, b, e); });
  return next;
}

}  // namespace

at::Tensor linf_step(const Projector& project_back, const at::Tensor& x, const at::Tensor& dx,
                     double step) {
  if (lie_alike(dx, x) && lie_alike(project_back.images(), x)) {
    const at::ScalarType type = x.scalar_type();
    if (type == at::kFloat) return step_all<float>(project_back, x, dx, step, step_float);
    if (type == at::kDouble) return step_all<double>(project_back, x, dx, step, step_double);
  }
  return linf_step_by_tensors(project_back, x, dx, step);
}

at::Tensor linf_step_by_tensors(const Projector& project_back, const at::Tensor& x,
                                const at::Tensor& dx, double step) {
  return project_back(x.add(dx.sign(), step));
}

}  // namespace cmat::attack
