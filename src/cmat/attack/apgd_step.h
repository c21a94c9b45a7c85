// The step of APGD (Croce and Hein, 2020) in Linf and L2.
#pragma once

#include <ATen/core/Tensor.h>

#include "cmat/attack/projection.h"

namespace cmat::attack {

class ApgdStep {
 public:
  ApgdStep(const at::Tensor& images, const ThreatModel& threat);

  /// Where x [n,c,h,w] goes: ahead along the gradient `dx` by step_size [n], back into ball and
  /// box; then `weight` of that way and 1 - weight of the last one, which came from `previous`, and
  /// back again.
  /// The result is written over `previous` where it is moved in and neither it nor its memory has
  /// another holder.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& dx, at::Tensor previous,
                        const at::Tensor& step_size, double weight) const;
  /// The same, tensor by tensor: what operator() does where it has no loop of its own, which are
  /// Linf in contiguous float32 and float64 on the CPU. There every value is read once.
  at::Tensor by_tensors(const at::Tensor& x, const at::Tensor& dx, const at::Tensor& previous,
                        const at::Tensor& step_size, double weight) const;

 private:
  at::Tensor direction(const at::Tensor& dx) const;
  at::Tensor project(const at::Tensor& moved) const;

  at::Tensor images_;
  ThreatModel threat_;
  Projector project_;
};

}  // namespace cmat::attack
