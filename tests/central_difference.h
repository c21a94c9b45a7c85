// What a gradient is compared with where no closed form is at hand.
#pragma once

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

namespace cmat::test {

/// The derivative of f() by x, an entry of what f computes with, or several that move together: the
/// quotient of its values at x + h and x - h, in whatever f gives. x holds its bits again
/// afterwards.
template <typename Function>
auto central_difference(const at::Tensor& x, const Function& f, double h = 1e-6) {
  const at::Tensor kept = x.clone();
  x.copy_(kept + h);
  const auto above = f();
  x.copy_(kept - h);
  const auto below = f();
  x.copy_(kept);
  return (above - below) / (2 * h);
}

}  // namespace cmat::test
