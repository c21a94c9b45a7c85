#include "cmat/nn/effective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "golden_tensor.h"
#include "nn/random_network.h"

namespace cmat::nn {
namespace {

using test::logits_of;
using test::make_constant;
using test::max_difference;
using test::random_images;
using test::random_network;

constexpr double tolerance = 1e-12;

std::int64_t size_of(const EffectiveNetwork& network, const std::string& tensor, int dim = 0) {
  return network.state.at(tensor).size(dim);
}

/// Removes, and checks that the logits stayed and the counts tell the truth.
Removal remove_and_check(EffectiveNetwork& network) {
  const at::Tensor images = random_images(network.description, 16);
  const at::Tensor before = logits_of(network, images);
  const std::int64_t channels = network.channels(), weights = network.weights();
  const Removal removed = remove_zero_channels(network);
  EXPECT_EQ(network.channels(), channels - removed.channels);
  EXPECT_EQ(network.weights(), weights - removed.weights);
  const double scale = std::max(1.0, before.abs().max().item<double>());
  EXPECT_LE(max_difference(logits_of(network, images), before), tolerance * scale);
  return removed;
}

EffectiveNetwork tiny(const std::string& architecture, std::uint64_t seed = 1) {
  return random_network(
      {.architecture = architecture, .channels = 3, .height = 8, .image_width = 8, .classes = 5},
      at::kDouble, seed);
}

EffectiveNetwork resnet() {
  return random_network({.architecture = "resnet8", .width = 0.5, .classes = 4}, at::kDouble, 2);
}

TEST(Effective, NothingIsRemovedWhereEverythingCounts) {
  EffectiveNetwork network = tiny("tinybn");
  EXPECT_EQ(remove_and_check(network).channels, 0);
  EXPECT_EQ(network.state.count("bn1.num_batches_tracked"), 0U);
}

TEST(Effective, AZeroFilterGoesOnlyWhereReluMakesItsConstantZero) {
  EffectiveNetwork network = tiny("tinybn");
  make_constant(network, "conv1", "bn1", 1, -0.5);
  make_constant(network, "conv1", "bn1", 3, 0.5);
  const Removal removed = remove_and_check(network);
  EXPECT_EQ(removed.channels, 1);
  // 3*3*3 weights, a bias and four numbers of the norm layer; 12 filters lose 3*3 weights each.
  EXPECT_EQ(removed.weights, 27 + 1 + 4 + 12 * 9);
  EXPECT_EQ(size_of(network, "conv1.weight"), 5);
  EXPECT_EQ(size_of(network, "bn1.running_var"), 5);
  EXPECT_EQ(size_of(network, "conv2.weight", 1), 5);
}

/// Such as the objective anp-vs prunes.
TEST(Effective, AChannelThatItsNormMultipliesByZeroGoes) {
  EffectiveNetwork network = tiny("tinybn");
  network.state.at("bn1.weight")[2].fill_(0);
  network.state.at("bn1.bias")[2].fill_(0);
  network.state.at("bn1.weight")[4].fill_(0);
  network.state.at("bn1.bias")[4].fill_(0.5);  // another constant
  EXPECT_EQ(remove_and_check(network).channels, 1);
  EXPECT_EQ(size_of(network, "conv1.weight"), 5);
}

TEST(Effective, ABiasIsAConstantToo) {
  EffectiveNetwork network = tiny("tiny");
  make_constant(network, "conv1", "", 0, -0.2);
  make_constant(network, "conv1", "", 2, 0.2);
  make_constant(network, "conv2", "", 4, 0.0);
  make_constant(network, "conv2", "", 5, 1e-3);
  EXPECT_EQ(remove_and_check(network).channels, 2);
  EXPECT_EQ(size_of(network, "conv1.bias"), 5);
  EXPECT_EQ(size_of(network, "conv2.bias"), 11);
  EXPECT_EQ(size_of(network, "fc.weight", 1), 11);
}

TEST(Effective, AFilterThatReadsOnlyZeroChannelsIsConstantToo) {
  EffectiveNetwork network = tiny("tiny");
  make_constant(network, "conv1", "", 0, -0.2);
  at::Tensor filter = network.state.at("conv2.weight")[7];
  filter.slice(0, 1).zero_();  // only channel 0, which is zero, is left
  network.state.at("conv2.bias")[7].fill_(-0.1);
  EXPECT_EQ(remove_and_check(network).channels, 2);
}

TEST(Effective, AChannelThatNobodyReadsGoes) {
  EffectiveNetwork network = tiny("tinybn");
  network.state.at("conv2.weight").select(1, 4).zero_();
  EXPECT_EQ(remove_and_check(network).channels, 1);
  network.state.at("fc.weight").select(1, 2).zero_();
  EXPECT_EQ(remove_and_check(network).channels, 1);
  EXPECT_EQ(size_of(network, "conv2.weight"), 11);
}

TEST(Effective, OneChannelAlwaysStays) {
  EffectiveNetwork network = tiny("tinybn");
  for (std::int64_t i = 0; i < 6; ++i) make_constant(network, "conv1", "bn1", i, -1);
  remove_and_check(network);
  EXPECT_EQ(size_of(network, "conv1.weight"), 1);
}

TEST(Effective, FlattenedChannelsGoWithAllTheirPixels) {
  EffectiveNetwork network = random_network({.architecture = "small_cnn",
                                             .width = 0.25,
                                             .channels = 1,
                                             .height = 28,
                                             .image_width = 28,
                                             .classes = 3},
                                            at::kDouble, 3);
  const std::int64_t features = size_of(network, "fc1.weight", 1);
  const std::int64_t channels = size_of(network, "conv3.weight");
  make_constant(network, "conv3", "bn3", 5, -0.1);
  make_constant(network, "fc1", "", 3, -0.1);
  make_constant(network, "fc1", "", 4, 0.1);
  EXPECT_EQ(remove_and_check(network).channels, 2);
  EXPECT_EQ(size_of(network, "fc1.weight", 1), features - features / channels);
  EXPECT_EQ(size_of(network, "fc1.bias"), 15);
}

TEST(EffectiveResidual, OneZeroBranchIsNotEnough) {
  EffectiveNetwork network = resnet();
  make_constant(network, "layer1.0.conv2", "layer1.0.bn2", 2, -0.5);
  EXPECT_EQ(remove_and_check(network).channels, 0);
  network = resnet();
  make_constant(network, "conv1", "bn1", 2, -0.5);
  EXPECT_EQ(remove_and_check(network).channels, 0);
}

TEST(EffectiveResidual, BothBranchesGoTogether) {
  EffectiveNetwork network = resnet();
  make_constant(network, "conv1", "bn1", 2, -0.5);
  make_constant(network, "layer1.0.conv2", "layer1.0.bn2", 2, -0.5);
  EXPECT_EQ(remove_and_check(network).channels, 2);
  EXPECT_EQ(size_of(network, "conv1.weight"), 7);
  EXPECT_EQ(size_of(network, "layer1.0.conv1.weight", 1), 7);
  EXPECT_EQ(size_of(network, "layer2.0.downsample.0.weight", 1), 7);
}

TEST(EffectiveResidual, AConstantThatAnotherLayerReadsStays) {
  // After the addition -2 + 1 meets a ReLU; before it layer1.0.conv1 reads the 1.
  EffectiveNetwork network = resnet();
  make_constant(network, "conv1", "bn1", 2, 1);
  make_constant(network, "layer1.0.conv2", "layer1.0.bn2", 2, -2);
  EXPECT_EQ(remove_and_check(network).channels, 0);
}

TEST(EffectiveResidual, ConstantsAddUp) {
  EffectiveNetwork network = resnet();
  make_constant(network, "layer2.0.conv2", "layer2.0.bn2", 1, 1);
  make_constant(network, "layer2.0.downsample.0", "layer2.0.downsample.1", 1, -2);
  EXPECT_EQ(remove_and_check(network).channels, 2);
  network = resnet();
  make_constant(network, "layer2.0.conv2", "layer2.0.bn2", 1, 2);
  make_constant(network, "layer2.0.downsample.0", "layer2.0.downsample.1", 1, -1);
  EXPECT_EQ(remove_and_check(network).channels, 0);
}

/// Layers whose channels are tied together, and those that read them.
struct Group {
  std::vector<std::pair<std::string, std::string>> makers;  ///< layer and its norm layer
  std::vector<std::string> readers;
};

const std::map<std::string, std::vector<Group>>& groups() {
  static const std::map<std::string, std::vector<Group>> table = {
      {"tiny", {{{{"conv1", ""}}, {"conv2"}}, {{{"conv2", ""}}, {"fc"}}}},
      {"tinybn", {{{{"conv1", "bn1"}}, {"conv2"}}, {{{"conv2", "bn2"}}, {"fc"}}}},
      {"small_cnn",
       {{{{"conv1", "bn1"}}, {"conv2"}},
        {{{"conv2", "bn2"}}, {"conv3"}},
        {{{"conv3", "bn3"}}, {"fc1"}},
        {{{"fc1", ""}}, {"head"}}}},
      {"resnet8",
       {{{{"conv1", "bn1"}, {"layer1.0.conv2", "layer1.0.bn2"}},
         {"layer1.0.conv1", "layer2.0.conv1", "layer2.0.downsample.0"}},
        {{{"layer1.0.conv1", "layer1.0.bn1"}}, {"layer1.0.conv2"}},
        {{{"layer3.0.conv2", "layer3.0.bn2"}, {"layer3.0.downsample.0", "layer3.0.downsample.1"}},
         {"head"}}}}};
  return table;
}

class RandomZeros : public ::testing::TestWithParam<std::string> {};

TEST_P(RandomZeros, LogitsStayAndExactlyTheDeadChannelsGo) {
  std::int64_t all_expected = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    EffectiveNetwork network = random_network(
        {.architecture = GetParam(), .width = 0.5, .height = 28, .image_width = 28, .classes = 3},
        at::kDouble, seed);
    std::mt19937_64 generator(seed);
    std::int64_t expected = 0;
    for (const Group& group : groups().at(GetParam())) {
      const std::int64_t channels = size_of(network, group.makers[0].first + ".weight");
      for (std::int64_t c = 1; c < channels; ++c) {  // 0 lives, so that no layer is left empty
        const auto dice = generator() % 3;
        if (dice == 0) continue;
        for (const auto& [layer, norm] : group.makers) {
          make_constant(network, layer, norm, c, dice == 1 ? -0.3 : 0.3);
        }
        if (dice == 1) expected += static_cast<std::int64_t>(group.makers.size());
      }
    }
    EXPECT_EQ(remove_and_check(network).channels, expected);
    all_expected += expected;
  }
  EXPECT_GT(all_expected, 0);
}

TEST_P(RandomZeros, WhatIsLeftCounts) {
  // The slow proof that no dead channel was missed: hide any one of those left from its readers,
  // and the logits change.
  EffectiveNetwork network = random_network(
      {.architecture = GetParam(), .width = 0.5, .height = 28, .image_width = 28, .classes = 3},
      at::kDouble, 9);
  for (const Group& group : groups().at(GetParam())) {
    for (const auto& [layer, norm] : group.makers) {
      // Without a norm layer a unit may be negative for every image, which is not what is tested.
      if (norm.empty()) network.state.at(layer + ".bias").add_(2);
      make_constant(network, layer, norm, 1, -0.3);
    }
  }
  ASSERT_GT(remove_and_check(network).channels, 0);
  const at::Tensor images = random_images(network.description, 4);
  const at::Tensor before = logits_of(network, images);
  for (const Group& group : groups().at(GetParam())) {
    const std::int64_t channels = size_of(network, group.makers[0].first + ".weight");
    for (std::int64_t c = 0; c < channels; ++c) {
      EffectiveNetwork hidden = network;
      for (const std::string& reader : group.readers) {
        at::Tensor& weight = hidden.state.at(reader + ".weight");
        weight = weight.clone();
        const std::int64_t pixels = weight.size(1) / channels;
        weight.narrow(1, c * pixels, pixels).zero_();
      }
      EXPECT_GT(max_difference(logits_of(hidden, images), before), 1e-9)
          << group.makers[0].first << " " << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, RandomZeros,
                         ::testing::Values("tiny", "tinybn", "small_cnn", "resnet8"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cmat::nn
