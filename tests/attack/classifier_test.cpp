#include "cmat/attack/classifier.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <stdexcept>

#include "central_difference.h"
#include "cmat/attack/losses.h"
#include "golden_tensor.h"

namespace cmat::attack {
namespace {

using test::golden_net;
using test::GoldenNet;
using test::max_difference;

/// All that the guard must leave as it was.
struct State {
  std::vector<at::Tensor> values, gradients;
  std::vector<bool> requires_grad, modes;
};

State state_of(nn::Network& network) {
  State state;
  for (const nn::NamedTensor& parameter : network.parameters()) {
    state.values.push_back(parameter.tensor.detach().clone());
    state.gradients.push_back(parameter.tensor.grad().defined() ? parameter.tensor.grad().clone()
                                                                : at::Tensor());
    state.requires_grad.push_back(parameter.tensor.requires_grad());
  }
  for (const nn::NamedTensor& buffer : network.buffers()) {
    state.values.push_back(buffer.tensor.clone());
  }
  for (const auto& module : network.module().modules())
    state.modes.push_back(module->is_training());
  return state;
}

void expect_same(const State& a, const State& b) {
  ASSERT_EQ(a.values.size(), b.values.size());
  for (std::size_t i = 0; i < a.values.size(); ++i) EXPECT_TRUE(a.values[i].equal(b.values[i]));
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    ASSERT_EQ(a.gradients[i].defined(), b.gradients[i].defined());
    if (a.gradients[i].defined()) {
      EXPECT_TRUE(a.gradients[i].equal(b.gradients[i]));
    }
  }
  EXPECT_EQ(a.requires_grad, b.requires_grad);
  EXPECT_EQ(a.modes, b.modes);
}

/// A network in the middle of a training step: gradients stored, one weight frozen, one layer in
/// eval.
GoldenNet network_in_use() {
  GoldenNet net = golden_net("tinybn_c5");
  net.network->set_training(true);
  cross_entropy(net.network->forward(net.x), net.y).sum().backward();
  net.network->parameters().front().tensor.requires_grad_(false);
  net.network->module().named_children()["bn2"]->eval();
  return net;
}

LossFunction ce(const at::Tensor& y) {
  return [y](const at::Tensor& z) { return cross_entropy(z, y); };
}

TEST(Guard, RestoresEverythingBitForBit) {
  for (const auto mode : {NetworkClassifier::Mode::eval, NetworkClassifier::Mode::train}) {
    const GoldenNet net = network_in_use();
    const State before = state_of(*net.network);
    {
      NetworkClassifier model(*net.network, mode);
      EXPECT_EQ(net.network->is_training(), mode == NetworkClassifier::Mode::train);
      for (const nn::NamedTensor& parameter : net.network->parameters()) {
        EXPECT_FALSE(parameter.tensor.requires_grad());
      }
      model.gradient(net.x, ce(net.y));
      model.logits(net.x);
      model.jacobian(net.x);
      model.features(net.x);
    }
    expect_same(before, state_of(*net.network));
  }
}

TEST(Guard, RestoresEverythingWhenTheLossThrows) {
  for (const auto mode : {NetworkClassifier::Mode::eval, NetworkClassifier::Mode::train}) {
    const GoldenNet net = network_in_use();
    const State before = state_of(*net.network);
    const auto attack = [&] {
      NetworkClassifier model(*net.network, mode);
      model.gradient(net.x,
                     [](const at::Tensor&) -> at::Tensor { throw std::runtime_error("no"); });
    };
    EXPECT_THROW(attack(), std::runtime_error);
    expect_same(before, state_of(*net.network));
  }
}

TEST(Guard, TrainModeMovesTheBuffersOnlyMeanwhile) {
  const GoldenNet net = golden_net("tinybn_c5");
  const at::Tensor mean = net.network->buffers().front().tensor;
  const at::Tensor before = mean.clone();
  {
    NetworkClassifier model(*net.network, NetworkClassifier::Mode::train);
    model.logits(net.x);
    EXPECT_FALSE(mean.equal(before));
  }
  EXPECT_TRUE(mean.equal(before));
}

TEST(Guard, AGraphRecordedBeforeTheAttackCanStillBeUsed) {
  const GoldenNet net = golden_net("tinybn_c5");
  net.network->set_training(true);
  const at::Tensor loss = cross_entropy(net.network->forward(net.x), net.y).sum();
  NetworkClassifier(*net.network, NetworkClassifier::Mode::train).gradient(net.x, ce(net.y));
  loss.backward();
  EXPECT_TRUE(net.network->parameters().front().tensor.grad().defined());
}

TEST(Classifier, CountsImagesNotCalls) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  model.logits(net.x);
  EXPECT_EQ(model.forwards(), 6);
  EXPECT_EQ(model.backwards(), 0);
  model.gradient(net.x, ce(net.y));
  EXPECT_EQ(model.forwards(), 12);
  EXPECT_EQ(model.backwards(), 6);
  model.jacobian(net.x);
  EXPECT_EQ(model.forwards(), 18);
  EXPECT_EQ(model.backwards(), 6 + 30);
  model.features(net.x);
  EXPECT_EQ(model.forwards(), 24);
}

TEST(Classifier, JacobianRowsAreTheGradientsOfTheLogits) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  const at::Tensor jacobian = model.jacobian(net.x);
  ASSERT_EQ(jacobian.sizes(), (std::vector<std::int64_t>{6, 5, 3, 8, 8}));
  for (std::int64_t c = 0; c < 5; ++c) {
    const Gradient g = model.gradient(net.x, [&](const at::Tensor& z) { return z.select(1, c); });
    EXPECT_LE(max_difference(jacobian.select(1, c), g.dx), 1e-14);
  }
}

TEST(Classifier, GradientMatchesFiniteDifferences) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  const at::Tensor dx = model.gradient(net.x, ce(net.y)).dx;
  const auto losses_of_images = [&] { return cross_entropy(model.logits(net.x), net.y); };
  for (const std::int64_t pixel : {0, 37, 100, 191}) {
    // Each image's loss depends on its own pixel only.
    const at::Tensor pixels = net.x.view({6, 192}).select(1, pixel);
    EXPECT_LE(max_difference(test::central_difference(pixels, losses_of_images),
                             dx.flatten(1).select(1, pixel)),
              1e-7);
  }
}

TEST(Classifier, WorksWhereTheCallerRecordsNoGradients) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const at::Tensor expected = model.gradient(net.x, ce(net.y)).dx;
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(model.gradient(net.x, ce(net.y)).dx.equal(expected));
  EXPECT_FALSE(net.x.requires_grad());
  EXPECT_FALSE(net.x.grad().defined());
}

TEST(Classifier, ALossThatIgnoresTheImagesHasNoGradient) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const Gradient g =
      model.gradient(net.x, [](const at::Tensor& z) { return at::zeros({z.size(0)}); });
  EXPECT_TRUE(g.dx.eq(0).all().item<bool>());
}

}  // namespace
}  // namespace cmat::attack
