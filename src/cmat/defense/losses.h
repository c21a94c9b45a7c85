// What the weights minimise. Means over the batch, differentiable in every argument that is not
// said to be a constant. Golden values: tests/golden/objectives.json.
#pragma once

#include <ATen/core/Tensor.h>

namespace cmat::defense {

/// KL(p || q) of each row, [n], where p and q are the softmax of two sets of logits [n,C].
at::Tensor divergence(const at::Tensor& p_logits, const at::Tensor& q_logits);

/// Cross-entropy with the label's one replaced by 1 - smoothing + smoothing / C and each zero by
/// smoothing / C (Szegedy et al., CVPR 2016).
at::Tensor smoothed_cross_entropy(const at::Tensor& logits, const at::Tensor& labels,
                                  double smoothing);

/// TRADES (Zhang et al., ICML 2019): CE(clean) + beta mean KL(p(clean) || p(adversarial)).
at::Tensor trades(const at::Tensor& clean, const at::Tensor& adversarial, const at::Tensor& labels,
                  double beta, double smoothing);

/// MART (Wang et al., ICLR 2020): CE(adversarial) - mean log(1.0001 - max_{k != y} p'_k + 1e-12)
/// + beta mean (1.0000001 - p_y) KL(p || p'), with log(p' + 1e-12) in the last term.
at::Tensor mart(const at::Tensor& clean, const at::Tensor& adversarial, const at::Tensor& labels,
                double beta, double smoothing);

/// Knowledge distillation (Hinton et al., 2015): temperature^2 mean KL(teacher / temperature ||
/// student / temperature). The teacher's logits are a constant.
at::Tensor distillation(const at::Tensor& teacher, const at::Tensor& student, double temperature);

}  // namespace cmat::defense
