#include "cmat/attack/attack.h"

#include "attack_helpers.h"
#include "cmat/attack/pgd.h"

namespace cmat::attack {
namespace {

using test::golden_net;
using test::GoldenNet;

TEST(CheckInputs, NamesTheLikelyCause) {
  const at::Tensor x = at::full({2, 3, 4, 4}, 0.5), y = at::zeros({2}, at::kLong);
  const auto message = [&](const at::Tensor& images, const at::Tensor& labels,
                           const std::vector<std::int64_t>& sample_ids) {
    return message_of([&] { check_inputs(images, labels, sample_ids); });
  };
  EXPECT_EQ(message(x, y, {0, 1}), "");
  EXPECT_EQ(message(x * 510, y, {0, 1}),
            "an attack takes images with pixels in [0,1], but these range from 255 to 255: divide "
            "values of 0 to 255 by 255");
  EXPECT_EQ(message(x - 2, y, {0, 1}),
            "an attack takes images with pixels in [0,1], but these range from -1.5 to -1.5: "
            "normalise in the network's first layer, not before the network");
  EXPECT_TRUE(message(x - 0.5001, y, {0, 1}).ends_with(": clamp them after rounding"));
  EXPECT_EQ(message(x / 0, y, {0, 1}),
            "an attack takes images with pixels in [0,1], but some are not finite");
  EXPECT_EQ(message(at::log(x - 1), y, {0, 1}),
            "an attack takes images with pixels in [0,1], but some are not finite");
  EXPECT_EQ(message(x[0], y, {0, 1}),
            "an attack takes images as floating-point numbers of the shape [n, c, h, w], not Float "
            "of the shape [3, 4, 4]");
  EXPECT_EQ(message(x, y.to(at::kInt), {0, 1}),
            "an attack on 2 images takes 2 labels as 64-bit integers, not Int of the shape [2]");
  EXPECT_EQ(message(x, y, {0}), "an attack on 2 images takes 2 sample ids, not 1");
  EXPECT_EQ(message(x, y - 1, {0, 1}), "an attack takes labels from 0 on, but one is -1");
}

TEST(CheckInputs, LabelsBeyondTheClassesAreRefusedBeforeAnyStep) {
  const GoldenNet net = golden_net("tiny_c2");
  NetworkClassifier model(*net.network);
  EXPECT_EQ(message_of(
                [&] { make_fgsm({})->run(model, net.x, at::full({6}, 2, at::kLong), ids(6), {}); }),
            "label 2 is not among the network's classes, 0 to 1");
}

TEST(Finish, RefusesWhatLeftBallOrBox) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const ThreatModel threat = {Norm::linf, 0.1};
  const at::Tensor far = net.x.clone();
  far[2].copy_((net.x[2] - 0.5).abs());
  EXPECT_THROW(finish(model, net.x, net.y, far, threat), Error);
  EXPECT_THROW(finish(model, net.x, net.y, net.x + 0.01, threat), Error);
  EXPECT_THROW(finish(model, net.x, net.y, net.x / 0, threat), Error);
  EXPECT_NO_THROW(finish(model, net.x, net.y, net.x, threat));
}

}  // namespace
}  // namespace cmat::attack
