#include "cmat/nn/network.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/conv.h>

#include <map>

#include "cmat/core/error.h"
#include "golden_tensor.h"

namespace cmat::nn {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::max_difference;

constexpr double tolerance = 1e-12;  // golden/README.md: forward

std::map<std::string, at::Tensor> by_name(const std::vector<NamedTensor>& tensors) {
  std::map<std::string, at::Tensor> result;
  for (const auto& [name, tensor] : tensors) result[name] = tensor;
  return result;
}

TEST(NetworkGolden, EvalLogitsAndFeatures) {
  const nlohmann::json expected = golden("forward.json").at("eval");
  for (const auto& [name, values] : expected.items()) {
    SCOPED_TRACE(name);
    const auto net = golden_net(name);
    const at::NoGradGuard no_grad;
    const at::Tensor logits = net.network->forward(net.x);
    EXPECT_LE(max_difference(logits, golden_tensor(values.at("logits"))), tolerance);
    EXPECT_TRUE(logits.argmax(1).equal(golden_tensor(values.at("pred"))));
    EXPECT_TRUE(logits.argmax(1).eq(net.y).equal(golden_tensor(values.at("correct"))));
    EXPECT_LE(max_difference(net.network->features(net.x), golden_tensor(values.at("pooled"))),
              tolerance);
  }
}

TEST(NetworkGolden, Float32IsNear) {
  const nlohmann::json expected = golden("forward.json").at("eval");
  for (const auto& [name, values] : expected.items()) {
    const auto net = golden_net(name);
    const auto single = build_network(net.description, at::kFloat, at::kCPU);
    const auto from = by_name(net.network->parameters());
    for (auto& [key, tensor] : by_name(single->parameters())) tensor.data().copy_(from.at(key));
    const auto statistics = by_name(net.network->buffers());
    for (auto& [key, tensor] : by_name(single->buffers())) tensor.data().copy_(statistics.at(key));
    const at::Tensor logits = single->forward(net.x.to(at::kFloat));
    EXPECT_LE(max_difference(logits, golden_tensor(values.at("logits"))), 5e-6) << name;
  }
}

TEST(NetworkGolden, NormalisationIsALayer) {
  const nlohmann::json expected = golden("forward.json").at("normalised");
  for (const auto& [name, values] : expected.items()) {
    const auto net = golden_net(name, values.at("mean"), values.at("std"));
    EXPECT_LE(max_difference(net.network->forward(net.x), golden_tensor(values.at("logits"))),
              tolerance);
    EXPECT_EQ(by_name(net.network->buffers()).count("normalize.mean"), 1U);
  }
}

TEST(NetworkGolden, TrainModeLogitsAndBuffers) {
  const nlohmann::json expected = golden("forward.json").at("train");
  for (const auto& [name, values] : expected.items()) {
    SCOPED_TRACE(name);
    const auto net = golden_net(name);
    const auto expect_buffers = [&](const nlohmann::json& buffers) {
      const auto actual = by_name(net.network->buffers());
      ASSERT_EQ(actual.size(), buffers.size());
      for (const auto& [key, array] : buffers.items()) {
        EXPECT_LE(max_difference(actual.at(key), golden_tensor(array)), tolerance) << key;
        EXPECT_EQ(actual.at(key).scalar_type(), golden_tensor(array).scalar_type()) << key;
      }
    };
    net.network->set_training(true);
    EXPECT_LE(max_difference(net.network->forward(net.x), golden_tensor(values.at("logits"))),
              tolerance);
    expect_buffers(values.at("buffers_after"));
    EXPECT_LE(max_difference(net.network->forward(net.x.flip(3)),
                             golden_tensor(values.at("logits_second_batch"))),
              tolerance);
    expect_buffers(values.at("buffers_after_second"));
    net.network->set_training(false);
    EXPECT_LE(max_difference(net.network->forward(net.x),
                             golden_tensor(values.at("eval_logits_after_both"))),
              tolerance);
  }
}

TEST(Network, StateNamesAreTorchs) {
  const auto network = build_network(describe({.architecture = "resnet8"}), at::kFloat, at::kCPU);
  std::vector<std::string> names;
  for (const NamedTensor& parameter : network->parameters()) names.push_back(parameter.name);
  const std::vector<std::string> start = {"conv1.weight", "bn1.weight", "bn1.bias",
                                          "layer1.0.conv1.weight", "layer1.0.bn1.weight"};
  EXPECT_EQ(std::vector<std::string>(names.begin(), names.begin() + 5), start);
  EXPECT_EQ(names.back(), "head.bias");
  const auto parameters = by_name(network->parameters());
  EXPECT_EQ(parameters.count("layer2.0.downsample.0.weight"), 1U);
  EXPECT_EQ(by_name(network->buffers()).count("layer3.0.downsample.1.running_var"), 1U);
  // Real torch modules, so that users can walk them.
  std::size_t convolutions = 0;
  for (const auto& module : network->module().modules()) {
    convolutions += module->as<torch::nn::Conv2d>() != nullptr;
  }
  EXPECT_EQ(convolutions, 9U);
}

TEST(Network, LayoutIsChannelsLastInFloat32OnTheCpu) {
  for (const std::int64_t channels : {1, 3}) {
    const Description description = describe({.architecture = "resnet8", .channels = channels});
    const auto single = build_network(description, at::kFloat, at::kCPU);
    const auto full = build_network(description, at::kDouble, at::kCPU);
    for (const auto& [name, tensor] : by_name(single->parameters())) {
      if (tensor.dim() == 4 && tensor.size(2) > 1) {
        EXPECT_EQ(tensor.suggest_memory_format(), at::MemoryFormat::ChannelsLast) << name;
      }
    }
    for (const auto& [name, tensor] : by_name(full->parameters())) {
      EXPECT_TRUE(tensor.is_contiguous()) << name;
    }
  }
}

TEST(Network, InitialWeightsDependOnSeedAndTaskAlone) {
  const Description description = describe({.architecture = "resnet8", .classes = 5});
  const auto single = build_network(description, at::kFloat, at::kCPU);
  const auto full = build_network(description, at::kDouble, at::kCPU);
  for (const NamedTensor& parameter : single->parameters()) {
    const bool scale = parameter.name.find("bn") != std::string::npos ||
                       parameter.name.find("downsample.1") != std::string::npos;
    const bool one = scale && parameter.name.ends_with("weight");
    EXPECT_TRUE(parameter.tensor.eq(one ? 1 : 0).all().item<bool>()) << parameter.name;
  }
  initialize(*single, description, 7, 2);
  initialize(*full, description, 7, 2);
  const auto expected = by_name(full->parameters());
  for (const auto& [name, tensor] : by_name(single->parameters())) {
    EXPECT_TRUE(tensor.equal(expected.at(name).to(at::kFloat))) << name;
  }
  initialize(*full, description, 7, 3);
  EXPECT_FALSE(by_name(single->parameters())
                   .at("conv1.weight")
                   .equal(expected.at("conv1.weight").to(at::kFloat)));
  const at::Tensor weight = by_name(single->parameters()).at("layer3.0.conv2.weight");
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (64 * 9)), 1e-3);
  const at::Tensor head = by_name(single->parameters()).at("head.weight");
  EXPECT_LE(head.abs().max().item<double>(), 1.0 / 8);
  EXPECT_GT(head.abs().max().item<double>(), 0.9 / 8);
}

TEST(Network, ResizedHeadLeavesAllElseAlone) {
  const Description description = describe({.architecture = "resnet8", .classes = 5});
  const auto network = build_network(description, at::kFloat, at::kCPU);
  initialize(*network, description, 1, 1);
  network->set_training(true);
  const auto before = by_name(network->parameters());
  network->resize_head(9);
  const auto after = by_name(network->parameters());
  ASSERT_EQ(after.size(), before.size());
  for (const auto& [name, tensor] : after) {
    if (name.starts_with("head.")) {
      EXPECT_EQ(tensor.size(0), 9);
      EXPECT_TRUE(tensor.eq(0).all().item<bool>());
      EXPECT_TRUE(tensor.requires_grad());
    } else {
      EXPECT_TRUE(tensor.is_same(before.at(name))) << name;
    }
  }
  EXPECT_EQ(network->parameters().back().name, "head.bias");
  initialize_head(*network, 1, 1);
  EXPECT_EQ(network->forward(at::rand({2, 3, 32, 32})).sizes(), (std::vector<std::int64_t>{2, 9}));
  EXPECT_TRUE(by_name(network->parameters()).at("head.weight").ne(0).any().item<bool>());
}

TEST(Network, AFreshHeadGetsTheWeightsThatInitializeGives) {
  const Description description = describe({.architecture = "resnet8", .classes = 5});
  const auto network = build_network(description, at::kFloat, at::kCPU);
  initialize(*network, description, 1, 4);
  const at::Tensor expected = by_name(network->parameters()).at("head.weight").clone();
  network->resize_head(5);
  initialize_head(*network, 1, 4);
  EXPECT_TRUE(by_name(network->parameters()).at("head.weight").equal(expected));
}

TEST(Network, ImagesAreNotChangedAndWrongOnesRefused) {
  const auto net = golden_net("tinybn_c5");
  const at::Tensor copy = net.x.clone();
  net.network->forward(net.x);
  EXPECT_TRUE(net.x.equal(copy));
  EXPECT_THROW(net.network->forward(net.x.to(at::kFloat)), Error);
  try {
    net.network->forward(at::zeros({2, 1, 8, 8}, at::kDouble));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "this network takes images of the shape [n, 3, height, width], not [2, 1, 8, 8]");
  }
}

/// A shortcut of few channels and stride 2, whose weight gradient oneDNN computes beyond its memory
/// where the processor has AVX2 and no more: wrong values, or a crash later on.
TEST(Network, GradientsOfNarrowShortcutsAreThoseOfFloat64) {
  for (const double width : {0.25, 0.5, 0.75}) {
    SCOPED_TRACE(width);
    const Description description =
        describe({.architecture = "resnet8", .width = width, .classes = 5});
    const auto single = build_network(description, at::kFloat, at::kCPU);
    const auto full = build_network(description, at::kDouble, at::kCPU);
    initialize(*single, description, 7, 1);
    initialize(*full, description, 7, 1);
    at::manual_seed(1);
    const at::Tensor images = at::rand({16, 3, 32, 32});
    const auto gradients = [&](Network& network, at::ScalarType type) {
      network.set_training(true);
      const std::vector<at::Tensor> parameters = tensors_of(network.parameters());
      const at::Tensor loss = network.forward(images.to(type)).square().sum();
      return torch::autograd::grad({loss}, parameters);
    };
    const auto expected = gradients(*full, at::kDouble);
    for (int again = 0; again < 5; ++again) {
      const auto found = gradients(*single, at::kFloat);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double largest = expected[i].abs().max().item<double>();
        EXPECT_LE(test::max_difference(found[i], expected[i]), 1e-3 * largest + 1e-6)
            << single->parameters()[i].name;
      }
    }
  }
}

}  // namespace
}  // namespace cmat::nn
