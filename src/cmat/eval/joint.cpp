#include "cmat/eval/joint.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace cmat::eval {

template <typename Part>
at::Tensor JointClassifier::side_by_side(const Part& part) {
  std::vector<at::Tensor> parts;
  for (attack::Classifier* member : members_) parts.push_back(part(*member));
  return at::cat(parts, 1);
}

at::Tensor JointClassifier::do_logits(const at::Tensor& images) {
  return side_by_side([&](attack::Classifier& member) { return member.logits(images); });
}

at::Tensor JointClassifier::do_verdict_logits(const at::Tensor& images) {
  return side_by_side([&](attack::Classifier& member) { return member.verdict_logits(images); });
}

at::Tensor JointClassifier::do_jacobian(const at::Tensor& images) {
  return side_by_side([&](attack::Classifier& member) { return member.jacobian(images); });
}

at::Tensor JointClassifier::do_features(const at::Tensor& images) {
  return side_by_side([&](attack::Classifier& member) { return member.features(images); });
}

/// d loss / d logits first, then each member's share of the way back to the images.
attack::Gradient JointClassifier::do_gradient(const at::Tensor& images,
                                              const attack::LossFunction& loss) {
  const at::AutoGradMode with_grad(true);
  const at::Tensor logits = do_logits(images).detach().requires_grad_(true);
  const at::Tensor losses = loss(logits);
  at::Tensor dx = at::zeros_like(images);
  if (!losses.requires_grad()) return {dx, logits.detach(), losses.detach()};
  const at::Tensor slope =
      torch::autograd::grad({losses}, {logits}, {at::ones_like(losses)}, /*retain_graph=*/false,
                            /*create_graph=*/false, /*allow_unused=*/true)[0];
  if (!slope.defined()) return {dx, logits.detach(), losses.detach()};
  std::int64_t first = 0;
  for (attack::Classifier* member : members_) {
    const attack::Gradient part = member->gradient(images, [&](const at::Tensor& z) {
      return (z * slope.narrow(1, first, z.size(1))).sum(1);
    });
    first += part.logits.size(1);
    dx = dx + part.dx;
  }
  return {dx, logits.detach(), losses.detach()};
}

}  // namespace cmat::eval
