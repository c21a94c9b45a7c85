// Layers with a rule of their own: dropout, whose masks depend on the key alone, and adaptive
// pooling.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "cmat/nn/network.h"
#include "golden_tensor.h"

namespace cmat::nn {
namespace {

using test::max_difference;

constexpr std::int64_t kFeatures = 3 * 10 * 10;
constexpr double kRate = 0.3;

/// image -> flatten -> dropout -> head with the identity as its weight, so that logits show masks.
std::unique_ptr<Network> transparent_network() {
  Description description;
  description.height = description.image_width = 10;
  description.layers = {{.kind = LayerKind::flatten, .inputs = {0}},
                        {.kind = LayerKind::dropout, .inputs = {1}, .rate = kRate},
                        {.kind = LayerKind::linear,
                         .name = "head",
                         .inputs = {2},
                         .in = kFeatures,
                         .out = kFeatures}};
  auto network = build_network(description, at::kDouble, at::kCPU);
  network->parameters().front().tensor.data().copy_(at::eye(kFeatures));
  return network;
}

at::Tensor ones(std::int64_t count) {
  return at::ones({count, 3, 10, 10}, at::TensorOptions(at::kDouble));
}

Key step_key(std::uint64_t step) { return {.seed = 3, .task = 2, .step = step}; }

TEST(Dropout, ZeroesAShareAndScalesTheRest) {
  const auto network = transparent_network();
  network->set_training(true);
  const at::Tensor logits = network->forward(ones(50)).detach();
  const at::Tensor zero = logits.eq(0);
  EXPECT_TRUE(zero.logical_or(logits.sub(1 / (1 - kRate)).abs().lt(1e-15)).all().item<bool>());
  // 15000 draws: the share's standard deviation is .0037.
  EXPECT_NEAR(zero.to(at::kDouble).mean().item<double>(), kRate, 0.02);
}

TEST(Dropout, DoesNothingInEvalMode) {
  const auto network = transparent_network();
  EXPECT_TRUE(network->forward(ones(2)).eq(1).all().item<bool>());
}

TEST(Dropout, MasksAreTheKeysInOrder) {
  const auto network = transparent_network(), other = transparent_network();
  network->set_training(true);
  other->set_training(true);
  network->set_dropout_key(step_key(7));
  const at::Tensor first = network->forward(ones(2)), second = network->forward(ones(2));
  EXPECT_FALSE(first.equal(second));
  // Neither torch's generator, nor evaluation in between, nor what was drawn before changes them.
  other->forward(ones(5));
  other->set_dropout_key(step_key(7));
  at::rand({100});
  EXPECT_TRUE(other->forward(ones(2)).equal(first));
  other->set_training(false);
  other->forward(ones(2));
  other->set_training(true);
  EXPECT_TRUE(other->forward(ones(2)).equal(second));
  other->set_dropout_key(step_key(8));
  EXPECT_FALSE(other->forward(ones(2)).equal(first));
}

TEST(Dropout, OneLayerDrawsAfterTheOther) {
  const Description description =
      describe({.architecture = "vgg16_bn", .width = 1.0 / 16, .dropout = 0.5});
  const auto network = build_network(description, at::kFloat, at::kCPU);
  initialize(*network, description, 1, 1);
  network->set_training(true);
  const at::Tensor images = at::rand({4, 3, 32, 32});
  const auto logits = [&](std::uint64_t step) {
    network->set_dropout_key(step_key(step));
    return network->forward(images).detach();
  };
  const at::Tensor first = logits(1);
  EXPECT_FALSE(logits(2).equal(first));
  EXPECT_TRUE(logits(1).equal(first));
}

TEST(Dropout, GradientPassesWhereTheValueDid) {
  const auto network = transparent_network();
  network->set_training(true);
  network->set_dropout_key(step_key(1));
  const at::Tensor images = ones(2).requires_grad_(true);
  const at::Tensor logits = network->forward(images);
  const at::Tensor gradient =
      torch::autograd::grad({logits}, {images}, {at::ones_like(logits)}).front();
  EXPECT_TRUE(gradient.flatten(1).equal(logits.detach()));
}

/// The window of torch's definition, entry by entry.
at::Tensor slow_average(const at::Tensor& x, std::int64_t side) {
  at::Tensor result = at::empty({x.size(0), x.size(1), side, side}, x.options());
  const auto begin = [&](std::int64_t i, std::int64_t in) { return i * in / side; };
  const auto end = [&](std::int64_t i, std::int64_t in) {
    return ((i + 1) * in + side - 1) / side;
  };
  for (std::int64_t i = 0; i < side; ++i) {
    for (std::int64_t j = 0; j < side; ++j) {
      const at::Tensor window = x.slice(2, begin(i, x.size(2)), end(i, x.size(2)))
                                    .slice(3, begin(j, x.size(3)), end(j, x.size(3)));
      result.select(2, i).select(2, j).copy_(window.mean({2, 3}));
    }
  }
  return result;
}

TEST(AdaptivePooling, AveragesTheWindowsOfItsDefinition) {
  constexpr std::int64_t side = 3;
  Description description;
  description.layers = {
      {.kind = LayerKind::adaptive_avg_pool, .inputs = {0}, .kernel = side},
      {.kind = LayerKind::flatten, .inputs = {1}},
      {.kind = LayerKind::linear, .name = "head", .inputs = {2}, .in = 27, .out = 27}};
  const auto network = build_network(description, at::kDouble, at::kCPU);
  network->parameters().front().tensor.data().copy_(at::eye(27));
  const at::NoGradGuard no_grad;
  for (const auto& [height, width] : {std::pair{2, 7}, {3, 3}, {6, 12}, {8, 1}}) {
    const at::Tensor images = at::rand({2, 3, height, width}, at::TensorOptions(at::kDouble));
    EXPECT_LE(max_difference(network->forward(images), slow_average(images, side).flatten(1)),
              1e-14);
    EXPECT_LE(max_difference(network->forward(images),
                             at::adaptive_avg_pool2d(images, {side, side}).flatten(1)),
              1e-14);
  }
}

}  // namespace
}  // namespace cmat::nn
