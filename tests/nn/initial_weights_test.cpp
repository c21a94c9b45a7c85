// Weights from a file: what fits, what is refused, and what stays the network's own.
#include "cmat/nn/initial_weights.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <limits>

#include "cmat/nn/tensors.h"
#include "core/expect_error.h"

namespace cmat::nn {
namespace {

using test::expect_usage_error;

struct Example {
  explicit Example(std::uint64_t seed, std::int64_t classes = 3)
      : description(describe({.architecture = "resnet8",
                              .width = 0.25,
                              .classes = classes,
                              .mean = {0.1, 0.2, 0.3},
                              .std = {1, 1, 1}})),
        network(build_network(description, at::kFloat, at::kCPU)) {
    initialize(*network, description, seed, 1);
  }
  std::vector<NamedTensor> state() const {
    std::vector<NamedTensor> all = network->parameters();
    for (NamedTensor& b : network->buffers()) all.push_back(std::move(b));
    return all;
  }
  at::Tensor tensor(const std::string& name) const {
    for (const auto& [key, value] : state()) {
      if (key == name) return value.detach();
    }
    throw std::runtime_error("no tensor " + name);
  }

  Description description;
  std::unique_ptr<Network> network;
};

/// A file as torchvision's would be: no normalisation layer.
TensorFile file_of(const Example& example) {
  TensorFile file;
  for (const auto& [name, tensor] : example.state()) {
    if (!name.starts_with("normalize.")) file.tensors[name] = to_bytes(tensor);
  }
  return file;
}

TEST(InitialWeights, EveryTensorIsTheFiles) {
  Example source(5);
  source.tensor("bn1.running_mean").fill_(0.25);
  source.tensor("bn1.num_batches_tracked").fill_(77);
  const TensorFile file = file_of(source);
  const Example target(1);
  const InitialWeightsFit fit = check_initial_weights(*target.network, file, "f");
  EXPECT_TRUE(fit.head);
  EXPECT_TRUE(fit.unused.empty());
  load_initial_weights(*target.network, file);
  for (const auto& [name, tensor] : source.state()) {
    EXPECT_TRUE(target.tensor(name).equal(tensor)) << name;
  }
}

TEST(InitialWeights, AHeadForOtherClassesIsLeftOut) {
  const TensorFile file = file_of(Example(5, 4));
  const Example target(1, 3), before(1, 3);
  EXPECT_FALSE(check_initial_weights(*target.network, file, "f").head);
  load_initial_weights(*target.network, file);
  EXPECT_TRUE(target.tensor("head.weight").equal(before.tensor("head.weight")));
  EXPECT_FALSE(target.tensor("conv1.weight").equal(before.tensor("conv1.weight")));
  TensorFile headless = file;
  headless.tensors.erase("head.weight");
  headless.tensors.erase("head.bias");
  EXPECT_FALSE(check_initial_weights(*target.network, headless, "f").head);
}

TEST(InitialWeights, TheLayoutOfTheNetworkStays) {
  const Example source(5), target(1);
  load_initial_weights(*target.network, file_of(source));
  EXPECT_EQ(target.tensor("conv1.weight").suggest_memory_format(), at::MemoryFormat::ChannelsLast);
}

TEST(InitialWeights, Float64IsRoundedAndCountersMayBeMissing) {
  const Example source(5), target(1);
  TensorFile file = file_of(source);
  file.tensors["conv1.weight"] = to_bytes(source.tensor("conv1.weight").to(at::kDouble).add(1e-12));
  file.tensors.erase("bn1.num_batches_tracked");
  check_initial_weights(*target.network, file, "f");
  load_initial_weights(*target.network, file);
  EXPECT_TRUE(target.tensor("conv1.weight").equal(source.tensor("conv1.weight")));
}

TEST(InitialWeights, WhatHasNoPlaceIsNamed) {
  const Example target(1);
  TensorFile file = file_of(Example(5));
  file.tensors["aux.weight"] = to_bytes(at::zeros({2}));
  file.tensors["aux.num_batches_tracked"] = to_bytes(at::zeros({}, at::kLong));
  file.tensors["normalize.mean"] = to_bytes(at::ones({3}));
  const at::Tensor mean = target.tensor("normalize.mean").clone();
  EXPECT_EQ(check_initial_weights(*target.network, file, "f").unused,
            (std::vector<std::string>{"aux.weight", "normalize.mean"}));
  load_initial_weights(*target.network, file);
  EXPECT_TRUE(target.tensor("normalize.mean").equal(mean));
}

TEST(InitialWeights, WhatDoesNotFitIsRefusedByName) {
  const Example target(1);
  const TensorFile whole = file_of(Example(5));
  const auto expect_refused = [&](const TensorFile& file, const std::vector<std::string>& parts) {
    expect_usage_error(parts, [&] { check_initial_weights(*target.network, file, "w.st"); });
  };
  TensorFile file = whole;
  file.tensors.erase("layer2.0.bn1.running_var");
  expect_refused(file, {"the initial weights of w.st", "it lacks layer2.0.bn1.running_var;"});
  file = whole;
  file.tensors["conv1.weight"] = to_bytes(at::zeros({4, 3, 7, 7}));
  expect_refused(file, {"its conv1.weight has the shape [4, 3, 7, 7] and not [4, 3, 3, 3]"});
  file = whole;
  file.tensors["bn1.bias"] = to_bytes(at::full({4}, std::numeric_limits<float>::quiet_NaN()));
  expect_refused(file, {"its bn1.bias holds a number that is not finite"});
  file = whole;
  file.tensors["bn1.bias"] = to_bytes(at::zeros({4}, at::kLong));
  expect_refused(file, {"its bn1.bias must be of type F32 or F64"});
  file = {};
  expect_refused(file, {"it lacks conv1.weight, it lacks bn1.weight", "more like these"});
}

TEST(InitialWeights, TheSourceIsTheConfigs) {
  const auto source = [](const std::string& toml) {
    Config config = Config::parse("[network]\n" + toml, "test");
    const InitialWeightsSource result = read_initial_weights_source(config);
    config.finish();
    return result;
  };
  EXPECT_TRUE(source("").empty());
  EXPECT_EQ(source("init = \"file\"\nfile = \"a/b.safetensors\"").text(), "a/b.safetensors");
  EXPECT_EQ(source("init = \"run\"\nrun = \"runs/a\"").text(), "runs/a, task 1");
  EXPECT_EQ(source("init = \"run\"\nrun = \"runs/a\"\nrun_task = 3").text(), "runs/a, task 3");
  expect_usage_error({"needs network.file"}, [&] { source("init = \"file\""); });
  expect_usage_error({"needs network.run"}, [&] { source("init = \"run\""); });
  expect_usage_error({"network.file", "has no use with network.init = \"random\""},
                     [&] { source("file = \"a.safetensors\""); });
  expect_usage_error({"network.run", "has no use with network.init = \"file\""},
                     [&] { source("init = \"file\"\nfile = \"a.st\"\nrun = \"runs/a\""); });
  expect_usage_error({"tools/convert_pth.py a.pth"},
                     [&] { source("init = \"file\"\nfile = \"a.pth\""); });
}

}  // namespace
}  // namespace cmat::nn
