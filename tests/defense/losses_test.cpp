// The losses and the weights' perturbation against golden numbers and closed forms.
#include "cmat/defense/losses.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "cmat/defense/weight_perturbation.h"
#include "defense/defense_helpers.h"
#include "golden_tensor.h"

namespace cmat::defense {
namespace {

using nlohmann::json;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

/// "tiny_c5_0.1" -> "tiny_c5"
std::string net_of(const std::string& name) {
  for (const char* net :
       {"tinybn_c10", "tinybn_c5", "tiny_c100", "tiny_c10", "tiny_c2", "tiny_c5"}) {
    if (name.starts_with(net)) return net;
  }
  throw std::runtime_error("no network in " + name);
}

at::Tensor gradient_of(const at::Tensor& value, const nn::Network& network,
                       const std::string& name) {
  for (const nn::NamedTensor& p : network.parameters()) {
    if (p.name == name) return torch::autograd::grad({value}, {p.tensor}, {}, true)[0];
  }
  throw std::runtime_error("no parameter " + name);
}

/// `gradients`: golden arrays by the names of parameters.
void expect_gradients(const at::Tensor& loss, const GoldenNet& net, const json& gradients) {
  for (const auto& [name, expected] : gradients.items()) {
    EXPECT_LE(max_difference(gradient_of(loss, *net.network, name), golden_tensor(expected)), 1e-10)
        << name;
  }
}

/// Logits of the golden images and of the golden x', with graphs.
struct Pair {
  GoldenNet net;
  at::Tensor clean, adversarial;
};

Pair golden_pair(const json& all, const std::string& name) {
  Pair pair{golden_net(net_of(name)), {}, {}};
  pair.clean = pair.net.network->forward(pair.net.x);
  pair.adversarial = pair.net.network->forward(golden_tensor(all.at("kl").at(name).at("x_adv")));
  return pair;
}

TEST(GoldenDivergence, RowsAndGradients) {
  const json kl = test::golden("objectives.json").at("kl");
  for (const auto& [name, expected] : kl.items()) {
    SCOPED_TRACE(name);
    const at::Tensor p = golden_tensor(expected.at("logits_nat")).requires_grad_(true);
    const at::Tensor q = golden_tensor(expected.at("logits_adv")).requires_grad_(true);
    const at::Tensor rows = divergence(p, q);
    EXPECT_LE(max_difference(rows, golden_tensor(expected.at("rows"))), 1e-12);
    EXPECT_NEAR(rows.mean().item<double>(), expected.at("batchmean").get<double>(), 1e-12);
    const auto g = torch::autograd::grad({rows.mean()}, {p, q});
    EXPECT_LE(max_difference(g[0], golden_tensor(expected.at("grad_logits_nat_of_batchmean"))),
              1e-10);
    EXPECT_LE(max_difference(g[1], golden_tensor(expected.at("grad_logits_adv_of_batchmean"))),
              1e-10);
    const GoldenNet net = golden_net(net_of(name));
    const at::Tensor x = golden_tensor(expected.at("x_adv")).requires_grad_(true);
    const at::Tensor sum =
        divergence(net.network->forward(net.x).detach(), net.network->forward(x)).sum();
    EXPECT_LE(max_difference(torch::autograd::grad({sum}, {x})[0],
                             golden_tensor(expected.at("grad_x_adv_of_sum"))),
              1e-10);
  }
}

TEST(GoldenTrades, LossAndGradients) {
  const json all = test::golden("objectives.json"), trades_golden = all.at("trades");
  for (const auto& [name, expected] : trades_golden.items()) {
    SCOPED_TRACE(name);
    const Pair pair = golden_pair(all, name);
    const at::Tensor loss =
        trades(pair.clean, pair.adversarial, pair.net.y, expected.at("beta").get<double>(), 0);
    EXPECT_NEAR(loss.item<double>(), expected.at("loss").get<double>(), 1e-12);
    expect_gradients(loss, pair.net, expected.at("param_grads"));
  }
}

TEST(GoldenMart, LossAndGradients) {
  const json all = test::golden("objectives.json"), mart_golden = all.at("mart");
  for (const auto& [name, expected] : mart_golden.items()) {
    SCOPED_TRACE(name);
    const Pair pair = golden_pair(all, name);
    const at::Tensor loss =
        mart(pair.clean, pair.adversarial, pair.net.y, expected.at("beta").get<double>(), 0);
    EXPECT_NEAR(loss.item<double>(), expected.at("loss").get<double>(), 1e-12);
    expect_gradients(loss, pair.net, expected.at("param_grads"));
    const at::Tensor boosted = mart(pair.clean, pair.adversarial, pair.net.y, 0, 0);
    EXPECT_NEAR(boosted.item<double>(), expected.at("bce").get<double>(), 1e-12);
  }
}

TEST(GoldenLabelSmoothing, LossAndGradients) {
  const json cases = test::golden("objectives.json").at("label_smoothing");
  for (const auto& [name, expected] : cases.items()) {
    SCOPED_TRACE(name);
    const GoldenNet net = golden_net(net_of(name));
    const at::Tensor loss = smoothed_cross_entropy(net.network->forward(net.x), net.y,
                                                   expected.at("smoothing").get<double>());
    EXPECT_NEAR(loss.item<double>(), expected.at("loss").get<double>(), 1e-12);
    expect_gradients(
        loss, net,
        {{"fc.bias", expected.at("grad_fc_bias")}, {"conv1.bias", expected.at("grad_conv1_bias")}});
  }
}

std::vector<at::Tensor> values_of(const nn::Network& network) {
  return Spy::copies(network.parameters());
}

TEST(GoldenWeightPerturbation, WeightsLossAndGradients) {
  const json cases = test::golden("objectives.json").at("awp");
  for (const auto& [name, expected] : cases.items()) {
    SCOPED_TRACE(name);
    const GoldenNet net = golden_net(net_of(name));
    const at::Tensor x = golden_tensor(expected.at("x_adv"));
    const auto loss_now = [&] { return smoothed_cross_entropy(net.network->forward(x), net.y, 0); };
    const std::vector<at::Tensor> before = values_of(*net.network);
    const at::Tensor loss = loss_now();
    EXPECT_NEAR(loss.item<double>(), expected.at("loss_before").get<double>(), 1e-12);
    {
      const WeightPerturbation perturbed(*net.network, all_gradients(loss, *net.network), {},
                                         expected.at("gamma").get<double>());
      for (const nn::NamedTensor& p : net.network->parameters()) {
        if (!expected.at("weights_after").contains(p.name)) continue;
        // They follow gradients, whose own tolerance is 1e-10.
        EXPECT_LE(max_difference(p.tensor, golden_tensor(expected.at("weights_after").at(p.name))),
                  1e-11)
            << p.name;
      }
      const at::Tensor there = loss_now();
      EXPECT_NEAR(there.item<double>(), expected.at("loss_at_perturbed").get<double>(), 1e-12);
      expect_gradients(there, net,
                       {{"conv1.weight", expected.at("grad_conv1_weight_at_perturbed")},
                        {"fc.bias", expected.at("grad_fc_bias_at_perturbed")}});
    }
    const std::vector<at::Tensor> after = values_of(*net.network);
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(before[i].equal(after[i]));
  }
}

TEST(WeightPerturbation, MovesOnlyWhatMayChange) {
  const GoldenNet net = golden_net("tiny_c5");
  const std::vector<at::Tensor> before = values_of(*net.network);
  const at::Tensor loss = smoothed_cross_entropy(net.network->forward(net.x), net.y, 0);
  const std::vector<at::Tensor> gradients = all_gradients(loss, *net.network);
  std::vector<at::Tensor> may(before.size());  // all of the head, every third of conv1, no conv2
  may[0] = at::arange(before[0].numel(), at::kLong).remainder(3).eq(0).view(before[0].sizes());
  may[2] = at::zeros(before[2].sizes(), at::kBool);
  const WeightPerturbation perturbed(*net.network, gradients, may, 0.1);
  const std::vector<at::Tensor> now = values_of(*net.network);
  EXPECT_TRUE(now[0].masked_select(~may[0]).equal(before[0].masked_select(~may[0])));
  const at::Tensor own = before[0] * may[0], moved = now[0] - before[0];
  EXPECT_NEAR(moved.norm().item<double>(), 0.1 * own.norm().item<double>(), 1e-12);
  EXPECT_GT((moved * gradients[0]).sum().item<double>(), 0);
  EXPECT_TRUE(now[2].equal(before[2]));
  EXPECT_NEAR((now[4] - before[4]).norm().item<double>(), 0.1 * before[4].norm().item<double>(),
              1e-12);
  for (std::size_t bias : {1U, 3U, 5U}) EXPECT_TRUE(now[bias].equal(before[bias]));
}

TEST(WeightPerturbation, NoGradientIsNoMove) {
  const GoldenNet net = golden_net("tiny_c5");
  const std::vector<at::Tensor> before = values_of(*net.network);
  std::vector<at::Tensor> zeros;
  for (const at::Tensor& w : before) zeros.push_back(at::zeros_like(w));
  const WeightPerturbation perturbed(*net.network, zeros, {}, 0.1);
  const std::vector<at::Tensor> now = values_of(*net.network);
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(now[i].equal(before[i]));
}

/// Two classes, so that every term can be written down.
TEST(Distillation, TwoClassesByHand) {
  const at::Tensor teacher = at::tensor({2.0, 0.0}, at::kDouble).view({1, 2});
  const at::Tensor student = at::tensor({0.0, 1.0}, at::kDouble).view({1, 2}).requires_grad_(true);
  const double t = 2, p = 1 / (1 + std::exp(-1.0)), q = 1 / (1 + std::exp(0.5));
  const at::Tensor loss = distillation(teacher, student, t);
  EXPECT_NEAR(loss.item<double>(),
              t * t * (p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q))), 1e-12);
  // d/dz of t^2 KL(p || softmax(z/t)) = t (softmax(z/t) - p)
  const at::Tensor g = torch::autograd::grad({loss}, {student})[0];
  EXPECT_NEAR(g[0][0].item<double>(), t * (q - p), 1e-12);
  EXPECT_NEAR(distillation(teacher, teacher, t).item<double>(), 0, 1e-15);
}

TEST(Mart, StaysFiniteWhereProbabilitiesVanish) {
  const at::Tensor clean = at::tensor({200.0, 0.0}, at::kFloat).view({1, 2}).requires_grad_(true);
  const at::Tensor adversarial =
      at::tensor({-200.0, 0.0}, at::kFloat).view({1, 2}).requires_grad_(true);
  const at::Tensor labels = at::zeros({1}, at::kLong);
  const at::Tensor loss = mart(clean, adversarial, labels, 5, 0);
  EXPECT_TRUE(std::isfinite(loss.item<double>()));
  for (const at::Tensor& g : torch::autograd::grad({loss}, {clean, adversarial})) {
    EXPECT_TRUE(at::isfinite(g).all().item<bool>());
  }
}

}  // namespace
}  // namespace cmat::defense
