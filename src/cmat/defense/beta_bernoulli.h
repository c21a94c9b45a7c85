// The Beta-Bernoulli masks of ANP-VS (Madaan, Shin and Hwang, ICML 2020) and what that paper calls
// the vulnerability of features. A channel is kept with a probability pi, whose prior is
// Beta(alpha, 1) and whose posterior is Kumaraswamy's distribution with the parameters a and b. All
// of [units] in float64, and differentiable in each argument that is not a noise. Golden values:
// tests/golden/anp_vs.json.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace cmat::defense {

struct Kumaraswamy {
  at::Tensor a, b;  ///< [units], > 0
};

/// a = softplus(max(a_free, -10)), b = softplus(clip(b_free, -10, 50)): of any real numbers.
Kumaraswamy kumaraswamy(const at::Tensor& a_free, const at::Tensor& b_free);

/// E[pi] = b B(1 + 1/a, b), in [0,1].
at::Tensor mean_probability(const Kumaraswamy& posterior);

/// KL of the posterior from Beta(alpha, 1), each unit's; 0 where a = alpha and b = 1.
at::Tensor divergence_from_prior(const Kumaraswamy& posterior, double alpha);

/// log pi of the quantile `u`, [units] in (0,1), at most -1e-6: there the gradient would be lost in
/// rounding.
at::Tensor log_probability(const Kumaraswamy& posterior, const at::Tensor& u);

/// Soft samples in [0,1] of Bernoulli(pi): sigmoid((logit v + logit pi) / temperature), the
/// concrete distribution (Maddison et al., ICLR 2017). `v` is [n,units] in (0,1), and so is the
/// result.
at::Tensor concrete_sample(const at::Tensor& log_pi, const at::Tensor& v, double temperature);

/// The mean over layers of mean |h(x) - h(x')|. One tensor a layer, of any shape, at least one.
at::Tensor vulnerability(const std::vector<at::Tensor>& clean,
                         const std::vector<at::Tensor>& adversarial);

}  // namespace cmat::defense
