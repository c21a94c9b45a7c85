#include "cmat/nn/description_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace cmat::nn {
namespace {

using nlohmann::json;

TEST(DescriptionJson, HoldsWhatEachKindUses) {
  const json j = to_json(describe({.architecture = "vgg16_bn_imagenet",
                                   .width = 0.125,
                                   .channels = 1,
                                   .height = 64,
                                   .image_width = 96,
                                   .classes = 7,
                                   .mean = {0.5},
                                   .std = {0.25}}));
  EXPECT_EQ(j.at("architecture"), "vgg16_bn_imagenet");
  EXPECT_EQ(j.at("width"), 0.125);
  EXPECT_EQ(j.at("height"), 64);
  EXPECT_EQ(j.at("image_width"), 96);
  EXPECT_EQ(j.at("mean"), json({0.5}));
  const json& layers = j.at("layers");
  EXPECT_EQ(layers.at(0),
            json::parse(R"({"kind": "normalize", "name": "normalize", "inputs": [0]})"));
  EXPECT_EQ(layers.at(1), json::parse(R"({"kind": "conv", "name": "features.0", "inputs": [1],
            "in": 1, "out": 8, "kernel": 3, "stride": 1, "padding": 1, "bias": true})"));
  EXPECT_EQ(layers.at(2), json::parse(R"({"kind": "batch_norm", "name": "features.1", "inputs": [2],
            "in": 8, "out": 8})"));
  EXPECT_EQ(layers.at(7), json::parse(R"({"kind": "max_pool", "inputs": [7], "kernel": 2,
            "stride": 2, "padding": 0})"));
  EXPECT_EQ(layers.back(), json::parse(R"({"kind": "linear", "name": "classifier.6",
            "inputs": [53], "in": 512, "out": 7, "bias": true})"));
}

TEST(DescriptionJson, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int kind = 0; kind <= static_cast<int>(LayerKind::dropout); ++kind) {
    EXPECT_TRUE(names.insert(std::string(name_of(static_cast<LayerKind>(kind)))).second);
  }
}

TEST(DescriptionJson, ShortcutsAreInputs) {
  const json network = to_json(describe({.architecture = "resnet50_imagenet"}));
  for (const json& layer : network.at("layers")) {
    EXPECT_EQ(layer.at("inputs").size(), layer.at("kind") == "add" ? 2U : 1U);
  }
}

}  // namespace
}  // namespace cmat::nn
