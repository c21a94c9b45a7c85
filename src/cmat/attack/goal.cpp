#include "cmat/attack/goal.h"

#include <ATen/TensorOperators.h>

#include "cmat/attack/attack.h"
#include "cmat/attack/losses.h"
#include "cmat/core/error.h"

namespace cmat::attack {

at::Tensor Goal::reached(const at::Tensor& predictions) const {
  return targeted() ? predictions == targets : predictions != labels;
}

at::Tensor Goal::cross_entropy(const at::Tensor& logits) const {
  return targeted() ? cross_entropy_targeted(logits, targets)
                    : attack::cross_entropy(logits, labels);
}

at::Tensor Goal::margin(const at::Tensor& logits) const {
  return targeted() ? attack::margin(logits, targets).neg() : attack::margin(logits, labels);
}

void Goal::check(std::int64_t classes) const {
  check_labels(labels, classes);
  if (!targeted()) return;
  const auto highest = targets.max().item<std::int64_t>();
  if (highest < classes) return;
  usage_error("target ", highest, " is not among the network's classes, 0 to ", classes - 1);
}

void check_targets(const at::Tensor& labels, const at::Tensor& targets) {
  const std::int64_t n = labels.size(0);
  if (targets.dim() != 1 || targets.size(0) != n || targets.scalar_type() != at::kLong) {
    usage_error("an attack towards chosen classes takes one target for each of ", n,
                " images as 64-bit integers, not ", at::toString(targets.scalar_type()),
                " of the shape ", targets.sizes());
  }
  const auto lowest = targets.min().item<std::int64_t>();
  if (lowest < 0) usage_error("an attack takes targets from 0 on, but one is ", lowest);
  const at::Tensor own = (targets == labels).nonzero();
  if (own.size(0) == 0) return;
  const auto row = own[0].item<std::int64_t>();
  usage_error("the target of image ", row, " of a batch is its own label, ",
              labels[row].item<std::int64_t>(), ": choose another class for it");
}

}  // namespace cmat::attack
