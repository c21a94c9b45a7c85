#include "cmat/defense/beta_bernoulli.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "cmat/core/error.h"

namespace cmat::defense {
namespace {

constexpr double kEulerGamma = 0.57721566490153286;

/// log(1 + exp(x)) to the last digits: torch's own form takes x for it from 20 on.
at::Tensor exact_softplus(const at::Tensor& x) {
  return at::softplus(x, /*beta=*/1, /*threshold=*/40);
}

/// log(1 - exp(x)) for x < 0.
at::Tensor log_of_complement(const at::Tensor& x) { return x.expm1().neg().log(); }

}  // namespace

Kumaraswamy kumaraswamy(const at::Tensor& a_free, const at::Tensor& b_free) {
  return {exact_softplus(a_free.clamp_min(-10)), exact_softplus(b_free.clamp(-10, 50))};
}

at::Tensor mean_probability(const Kumaraswamy& posterior) {
  const at::Tensor& b = posterior.b;
  const at::Tensor p = posterior.a.reciprocal() + 1;
  return b * (p.lgamma() + b.lgamma() - (p + b).lgamma()).exp();
}

at::Tensor divergence_from_prior(const Kumaraswamy& posterior, double alpha) {
  const auto& [a, b] = posterior;
  const at::Tensor mean_log = (b.digamma() + b.reciprocal() + kEulerGamma).neg();
  return (1 - alpha / a) * mean_log + (a * b / alpha).log() - (b - 1) / b;
}

at::Tensor log_probability(const Kumaraswamy& posterior, const at::Tensor& u) {
  return (log_of_complement(u.log() / posterior.b) / posterior.a).clamp_max(-1e-6);
}

at::Tensor concrete_sample(const at::Tensor& log_pi, const at::Tensor& v, double temperature) {
  const at::Tensor logit_pi = log_pi - log_of_complement(log_pi);
  return ((v.logit() + logit_pi) / temperature).sigmoid();
}

at::Tensor vulnerability(const std::vector<at::Tensor>& clean,
                         const std::vector<at::Tensor>& adversarial) {
  if (clean.empty() || clean.size() != adversarial.size()) {
    failure("the vulnerability compares ", clean.size(), " features with ", adversarial.size(),
            "; this is a defect of the program, please report it");
  }
  at::Tensor sum;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const at::Tensor distance = (clean[i] - adversarial[i]).abs().mean();
    sum = sum.defined() ? sum + distance : distance;
  }
  return sum / static_cast<double>(clean.size());
}

}  // namespace cmat::defense
