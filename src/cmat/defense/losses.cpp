#include "cmat/defense/losses.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <limits>

namespace cmat::defense {
namespace {

at::Tensor of_label(const at::Tensor& values, const at::Tensor& labels) {
  return values.gather(1, labels.unsqueeze(1)).squeeze(1);
}

}  // namespace

at::Tensor divergence(const at::Tensor& p_logits, const at::Tensor& q_logits) {
  const at::Tensor log_p = p_logits.log_softmax(1);
  return (log_p.exp() * (log_p - q_logits.log_softmax(1))).sum(1);
}

at::Tensor smoothed_cross_entropy(const at::Tensor& logits, const at::Tensor& labels,
                                  double smoothing) {
  return at::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Mean,
                                /*ignore_index=*/-100, smoothing);
}

at::Tensor trades(const at::Tensor& clean, const at::Tensor& adversarial, const at::Tensor& labels,
                  double beta, double smoothing) {
  return smoothed_cross_entropy(clean, labels, smoothing) +
         divergence(clean, adversarial).mean() * beta;
}

at::Tensor mart(const at::Tensor& clean, const at::Tensor& adversarial, const at::Tensor& labels,
                double beta, double smoothing) {
  const at::Tensor p = clean.softmax(1), q = adversarial.softmax(1);
  const at::Tensor others =
      q.scatter(1, labels.unsqueeze(1), -std::numeric_limits<double>::infinity());
  const at::Tensor runner_up = std::get<0>(others.max(1));
  const at::Tensor boosted = smoothed_cross_entropy(adversarial, labels, smoothing) -
                             (1.0001 - runner_up + 1e-12).log().mean();
  const at::Tensor rows = (p * (clean.log_softmax(1) - (q + 1e-12).log())).sum(1);
  return boosted + (rows * (1.0000001 - of_label(p, labels))).mean() * beta;
}

at::Tensor distillation(const at::Tensor& teacher, const at::Tensor& student, double temperature) {
  return divergence(teacher.detach() / temperature, student / temperature).mean() *
         (temperature * temperature);
}

}  // namespace cmat::defense
