// ANP-VS: its maths against golden numbers and closed forms, and its step on the golden networks.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "cmat/defense/beta_bernoulli.h"
#include "defense/defense_helpers.h"
#include "golden_tensor.h"

namespace cmat::defense {
namespace {

using nlohmann::json;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

constexpr double kAnpTolerance = 1e-9;  // tests/golden/README.md

/// The golden units' free parameters, as leaves.
struct FreeUnits {
  at::Tensor a, b;
  explicit FreeUnits(const json& moments)
      : a(golden_tensor(moments.at("a_uc")).requires_grad_(true)),
        b(golden_tensor(moments.at("b_uc")).requires_grad_(true)) {}
  std::vector<at::Tensor> gradients(const at::Tensor& value) const {
    return torch::autograd::grad({value.sum()}, {a, b}, {}, /*retain_graph=*/true);
  }
};

TEST(GoldenAnpVs, MomentsAndTheirDerivatives) {
  const json golden = test::golden("anp_vs.json").at("moments");
  const FreeUnits units(golden);
  const Kumaraswamy q = kumaraswamy(units.a, units.b);
  const auto expect = [&](const at::Tensor& actual, const char* name) {
    EXPECT_LE(max_difference(actual, golden_tensor(golden.at(name))), kAnpTolerance) << name;
  };
  expect(q.a, "a");
  expect(q.b, "b");
  const at::Tensor mean = mean_probability(q);
  const at::Tensor kl = divergence_from_prior(q, golden.at("alpha").get<double>());
  expect(mean, "mean_pi");
  expect(kl, "kl");
  expect(units.gradients(mean)[0], "d_mean_d_a_uc");
  expect(units.gradients(mean)[1], "d_mean_d_b_uc");
  expect(units.gradients(kl)[0], "d_kl_d_a_uc");
  expect(units.gradients(kl)[1], "d_kl_d_b_uc");
}

TEST(GoldenAnpVs, SampleAndItsDerivatives) {
  const json all = test::golden("anp_vs.json"), golden = all.at("sample");
  const FreeUnits units(all.at("moments"));
  const at::Tensor log_pi =
      log_probability(kumaraswamy(units.a, units.b), golden_tensor(golden.at("u")));
  const at::Tensor z = concrete_sample(log_pi, golden_tensor(golden.at("v")), golden.at("tau"));
  const auto expect = [&](const at::Tensor& actual, const char* name) {
    EXPECT_LE(max_difference(actual, golden_tensor(golden.at(name))), kAnpTolerance) << name;
  };
  expect(log_pi, "log_pi");
  expect(z, "z");
  expect(units.gradients(z)[0], "d_sum_z_d_a_uc");
  expect(units.gradients(z)[1], "d_sum_z_d_b_uc");
}

TEST(GoldenAnpVs, VulnerabilityOfTappedFeatures) {
  const json golden = test::golden("anp_vs.json").at("vulnerability");
  const GoldenNet net = golden_net(golden.at("net").get<std::string>());
  std::vector<at::Tensor> seen;
  net.network->set_tap([&](const std::string& norm, const at::Tensor& output) {
    EXPECT_EQ(norm, "");  // this network has none
    seen.push_back(output);
    return output;
  });
  const auto features_of = [&](const at::Tensor& images) {
    seen.clear();
    net.network->forward(images);
    std::vector<at::Tensor> features = seen;
    features.push_back(features.back().mean({2, 3}));  // the golden numbers' third
    return features;
  };
  const std::vector<at::Tensor> clean = features_of(net.x);
  const std::vector<at::Tensor> adversarial = features_of(golden_tensor(golden.at("x_adv")));
  ASSERT_EQ(clean.size(), 3U);
  const auto per_layer = golden.at("per_layer").get<std::vector<double>>();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(vulnerability({clean[i]}, {adversarial[i]}).item<double>(), per_layer[i], 1e-12);
  }
  const at::Tensor vs = vulnerability(clean, adversarial);
  EXPECT_NEAR(vs.item<double>(), golden.at("vs").get<double>(), 1e-12);
  for (const nn::NamedTensor& p : net.network->parameters()) {
    const std::string key = p.name == "conv1.weight" ? "grad_conv1_weight"
                            : p.name == "conv2.bias" ? "grad_conv2_bias"
                                                     : "";
    if (key.empty()) continue;
    const at::Tensor g = torch::autograd::grad({vs}, {p.tensor}, {}, /*retain_graph=*/true)[0];
    EXPECT_LE(max_difference(g, golden_tensor(golden.at(key))), 1e-10) << key;
  }
  net.network->set_tap({});
  seen.clear();
  net.network->forward(net.x);
  EXPECT_TRUE(seen.empty());
}

/// The quantiles of a distribution average to its mean.
TEST(BetaBernoulli, QuantilesAverageToTheMean) {
  constexpr std::int64_t kPoints = 200000;
  const at::Tensor u =
      ((at::arange(kPoints, at::kDouble) + 0.5) / static_cast<double>(kPoints)).unsqueeze(1);
  const Kumaraswamy q = kumaraswamy(at::tensor({2.0, -1.0, 0.0, 1.0, -3.0}, at::kDouble),
                                    at::tensor({0.5413, 0.5413, 2.0, -1.0, 0.5}, at::kDouble));
  const at::Tensor pi = log_probability(q, u).exp();
  EXPECT_LE(max_difference(pi.mean(0), mean_probability(q)), 2e-5);
}

/// A cold concrete sample is 0 or 1, and 1 as often as pi says.
TEST(BetaBernoulli, ColdSamplesKeepWithTheirProbability) {
  constexpr std::int64_t kPoints = 100000;
  const at::Tensor v =
      ((at::arange(kPoints, at::kDouble) + 0.5) / static_cast<double>(kPoints)).unsqueeze(1);
  const at::Tensor pi = at::tensor({0.05, 0.5, 0.9}, at::kDouble);
  const at::Tensor z = concrete_sample(pi.log(), v, 1e-4);
  EXPECT_LE(max_difference(z.mean(0), pi), 1e-4);
  EXPECT_LE((z * (1 - z)).mean().item<double>(), 1e-3);
}

TEST(BetaBernoulli, ThePriorItselfHasNoDivergence) {
  constexpr double kAlpha = 0.3;
  const at::Tensor b = at::tensor({1.0, 1.0, 1.0, 0.9, 1.1}, at::kDouble);
  const at::Tensor a = at::tensor({kAlpha, kAlpha - 0.02, kAlpha + 0.02, kAlpha, kAlpha}, at::kDouble);
  const at::Tensor kl = divergence_from_prior({a, b}, kAlpha);
  EXPECT_NEAR(kl[0].item<double>(), 0, 1e-12);
  for (int i = 1; i < 5; ++i) EXPECT_GT(kl[i].item<double>(), 1e-4) << i;
}

}  // namespace
}  // namespace cmat::defense
