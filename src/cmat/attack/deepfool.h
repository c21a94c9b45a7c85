// DeepFool (Moosavi-Dezfooli et al., 2016): steps onto the nearest linearised boundary until the
// class changes. Fast and close to the smallest distance, but it does not look for less.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct DeepFoolOptions {
  ThreatModel threat{};  ///< linf or l2; the radius only decides what counts; infinite: everything
  int steps = 50;
  double overshoot = 0.02;
  /// box: the shortest step onto the plane inside the box. clip_each_step: the shortest step,
  /// then clamped. Both move away from the label. sum_of_steps: the authors' program: from the
  /// predicted class, without a box, each step longer by 1e-4; as an attack it is clamped at the
  /// end, which may undo it.
  enum class Form { box, clip_each_step, sum_of_steps } form = Form::box;
};

/// "deepfool". Fills AttackResult::nearest. Every pass sees the whole batch.
std::unique_ptr<Attack> make_deepfool(const DeepFoolOptions& options);

/// The iteration alone.
struct DeepFoolRun {
  at::Tensor x;      ///< sum_of_steps: may lie outside the box
  at::Tensor steps;  ///< that each image took, [n] int64
};
DeepFoolRun deepfool_run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                         const DeepFoolOptions& options);

}  // namespace cmat::attack
