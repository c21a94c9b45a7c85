// Wider networks: what they compute at first, and where the narrower one lies in them.
#include "cmat/nn/growth.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "cmat/core/random.h"
#include "core/expect_error.h"
#include "nn/random_network.h"

namespace cmat::nn {
namespace {

using test::random_images;

struct Grown {
  Description narrow, wide;
  std::unique_ptr<Network> before, after;
};

Grown grow(const std::string& architecture, double width, double grown_width) {
  NetworkOptions options{.architecture = architecture, .width = width, .classes = 3};
  options.channels = architecture == "small_cnn" ? 1 : 3;
  options.height = options.image_width = architecture == "small_cnn" ? 28 : 32;
  Grown g;
  g.narrow = describe(options);
  g.wide = at_width(g.narrow, grown_width);
  g.before = build_network(g.narrow, at::kDouble, at::kCPU);
  g.after = build_network(g.wide, at::kDouble, at::kCPU);
  initialize(*g.before, g.narrow, 1, 1);
  initialize(*g.after, g.wide, Key{.seed = 1, .purpose = Purpose::growth});
  return g;
}

class GrowingArchitecture : public testing::TestWithParam<std::string> {};

TEST_P(GrowingArchitecture, ComputesTheSameWhenItHasGrown) {
  const at::NoGradGuard no_grad;
  for (const auto& [width, grown] : {std::pair{0.25, 0.5}, {0.5, 0.6}, {0.25, 1.0}}) {
    if (GetParam() == "vgg16_bn" && grown > 0.5) continue;  // large
    const Grown g = grow(GetParam(), width, grown);
    const at::Tensor x = random_images(g.narrow, 2);
    // Statistics and biases as after some training.
    g.before->set_training(true);
    g.before->forward(x);
    g.before->set_training(false);
    for (const NamedTensor& p : g.before->parameters()) {
      if (p.name.ends_with("bias")) at::Tensor(p.tensor).add_(0.1);
    }
    const at::Tensor logits = g.before->forward(x);
    EXPECT_FALSE(g.after->forward(x).allclose(logits, 0, 1e-6));
    transplant(*g.before, *g.after);
    EXPECT_TRUE(g.after->forward(x).allclose(logits, 1e-11, 1e-11)) << width << " to " << grown;
  }
}

TEST_P(GrowingArchitecture, EveryTensorIsTheCornerOfTheWiderOne) {
  const Grown g = grow(GetParam(), 0.25, 0.5);
  transplant(*g.before, *g.after);
  const auto narrow = g.before->parameters(), wide = g.after->parameters();
  ASSERT_EQ(narrow.size(), wide.size());
  bool grew = false;
  for (std::size_t i = 0; i < narrow.size(); ++i) {
    EXPECT_EQ(narrow[i].name, wide[i].name);
    EXPECT_TRUE(leading_corner(wide[i].tensor, narrow[i].tensor.sizes()).equal(narrow[i].tensor));
    grew = grew || wide[i].tensor.numel() > narrow[i].tensor.numel();
    if (narrow[i].tensor.dim() != 4) continue;
    // New filters learn from the first step; new inputs of old filters start at zero.
    const at::Tensor w = wide[i].tensor.detach();
    const std::int64_t rows = narrow[i].tensor.size(0), inputs = narrow[i].tensor.size(1);
    EXPECT_FALSE(w.slice(0, 0, rows).slice(1, inputs).ne(0).any().item<bool>());
    EXPECT_TRUE(w.slice(0, rows).flatten(1).ne(0).any(1).all().item<bool>());
  }
  EXPECT_TRUE(grew);
}

INSTANTIATE_TEST_SUITE_P(Growth, GrowingArchitecture,
                         testing::Values("resnet8", "vgg16_bn", "small_cnn", "tiny", "tinybn"));

TEST(AtWidth, ComesInMultiplesOfEightAndNeverShrinks) {
  const Description first = describe({.architecture = "resnet8", .width = 0.7});
  Description previous = first;
  for (double width : {0.75, 0.8, 1.0, 1.01, 2.0}) {
    const Description wide = at_width(first, width);
    EXPECT_EQ(wide.width, width);
    ASSERT_EQ(wide.layers.size(), first.layers.size());
    for (std::size_t i = 0; i < wide.layers.size(); ++i) {
      const Layer& layer = wide.layers[i];
      EXPECT_GE(layer.out, previous.layers[i].out);
      if (layer.kind != LayerKind::conv) continue;
      const bool as_first = layer.out == first.layers[i].out;
      EXPECT_TRUE(as_first || layer.out % 8 == 0) << layer.name << " " << layer.out;
    }
    EXPECT_EQ(wide.head().out, first.head().out);
    previous = wide;
  }
  // Exactly what was asked for where that is a multiple of 8.
  EXPECT_EQ(at_width(describe({.architecture = "resnet8", .width = 0.5}), 1.0).layers[1].out, 16);
}

TEST(AtWidth, GoesBackToTheFirstWidthAndNoFurther) {
  const Description first = describe({.architecture = "resnet8", .width = 0.7});
  const Description back = at_width(at_width(first, 1.5), 0.7);
  for (std::size_t i = 0; i < first.layers.size(); ++i) {
    EXPECT_EQ(back.layers[i].out, first.layers[i].out);
  }
  test::expect_failure({"0.7", "0.5"}, [&] { at_width(first, 0.5); });
}

}  // namespace
}  // namespace cmat::nn
