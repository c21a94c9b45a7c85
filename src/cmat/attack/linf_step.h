// The step of PGD in Linf (Madry et al., 2018).
#pragma once

#include <ATen/core/Tensor.h>

#include "cmat/attack/projection.h"

namespace cmat::attack {

/// Where x [n,c,h,w] goes: `step` along the signs of dx, back into the ball and box of
/// `project_back`, whose norm is Linf. Contiguous float32 and float64 on the CPU are read once, in
/// a loop that gives the very bits of linf_step_by_tensors().
at::Tensor linf_step(const Projector& project_back, const at::Tensor& x, const at::Tensor& dx,
                     double step);
at::Tensor linf_step_by_tensors(const Projector& project_back, const at::Tensor& x,
                                const at::Tensor& dx, double step);

}  // namespace cmat::attack
