// The classifier over a network's frozen form: which one is chosen, and that it says what libtorch
// says.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "cmat/attack/classifier.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/pgd.h"
#include "cmat/attack/projection.h"
#include "cmat/nn/frozen/frozen_network.h"

namespace cmat::test {
namespace {

using namespace attack;
using Mode = NetworkClassifier::Mode;

struct Subject {
  explicit Subject(at::ScalarType dtype = at::kFloat) {
    nn::NetworkOptions options;
    options.classes = 4;
    description = nn::describe(options);
    network = nn::build_network(description, dtype, at::kCPU);
    nn::initialize(*network, description, 3, 1);
    images = at::rand({6, 3, 32, 32}, at::TensorOptions(dtype));
    labels = at::randint(4, {6}, at::kLong);
  }
  LossFunction loss() const {
    return [this](const at::Tensor& z) { return cross_entropy(z, labels); };
  }
  nn::Description description;
  std::unique_ptr<nn::Network> network;
  at::Tensor images, labels;
};

bool is_plain(const Classifier& c) { return typeid(c) == typeid(NetworkClassifier); }

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

// The images whose gradients are the same up to rounding. A few may differ: where the input of a
// ReLU is zero up to rounding, the two computations may fall on different sides of its kink.
std::int64_t alike(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = (a - b).abs().flatten(1).amax(1) / b.abs().flatten(1).amax(1);
  return (difference < 1e-3).sum().item<std::int64_t>();
}

TEST(FrozenClassifier, IsChosenWhereTheNetworkHasAFrozenForm) {
  if (!nn::frozen::is_supported()) GTEST_SKIP() << "no vector instructions here";
  Subject s, in_double(at::kDouble);
  EXPECT_FALSE(is_plain(*make_classifier(*s.network)));
  EXPECT_TRUE(is_plain(*make_classifier(*s.network, Mode::train)));
  EXPECT_TRUE(is_plain(*make_classifier(*in_double.network)));
  EXPECT_TRUE(s.network->kernels().starts_with("frozen "));
  EXPECT_EQ(in_double.network->kernels(), "torch");
  s.network->use_frozen(false);
  EXPECT_TRUE(is_plain(*make_classifier(*s.network)));
  EXPECT_EQ(s.network->kernels(), "torch");
}

TEST(FrozenClassifier, SaysWhatLibtorchSays) {
  Subject s;
  const auto frozen = make_classifier(*s.network);
  NetworkClassifier plain(*s.network);
  EXPECT_LT(largest_difference(frozen->logits(s.images), plain.logits(s.images)), 1e-4);
  EXPECT_LT(largest_difference(frozen->features(s.images), plain.features(s.images)), 1e-4);
  EXPECT_GE(alike(frozen->jacobian(s.images), plain.jacobian(s.images)), 4);
  const Gradient a = frozen->gradient(s.images, s.loss()), b = plain.gradient(s.images, s.loss());
  EXPECT_GE(alike(a.dx, b.dx), 4);
  EXPECT_LT(largest_difference(a.loss, b.loss), 1e-4);
  EXPECT_EQ(a.dx.strides(), s.images.strides());
  EXPECT_EQ(frozen->forwards(), plain.forwards());
  EXPECT_EQ(frozen->backwards(), plain.backwards());
}

TEST(FrozenClassifier, DecidesByLibtorchToTheBit) {
  Subject s;
  const auto frozen = make_classifier(*s.network);
  const at::Tensor verdict = frozen->verdict_logits(s.images);
  EXPECT_TRUE(at::equal(verdict, NetworkClassifier(*s.network).logits(s.images)));
  EXPECT_EQ(frozen->forwards(), 6);
  PgdOptions options;
  const AttackResult result =
      make_pgd(options)->run(*frozen, s.images, s.labels, {0, 1, 2, 3, 4, 5}, {});
  const at::Tensor again = NetworkClassifier(*s.network).logits(result.adversarial).argmax(1);
  EXPECT_TRUE(at::equal(result.predictions, again));
}

TEST(FrozenClassifier, AConstantLossHasNoGradient) {
  Subject s;
  const auto frozen = make_classifier(*s.network);
  const auto constant = [](const at::Tensor& z) { return at::zeros({z.size(0)}); };
  EXPECT_EQ(frozen->gradient(s.images, constant).dx.abs().max().item<double>(), 0);
}

TEST(FrozenClassifier, SeesTheWeightsOfNow) {
  Subject s;
  const at::Tensor before = make_classifier(*s.network)->logits(s.images);
  {
    const at::NoGradGuard no_grad;
    for (const nn::NamedTensor& p : s.network->parameters()) p.tensor.detach().mul_(1.5);
  }
  const at::Tensor after = make_classifier(*s.network)->logits(s.images);
  EXPECT_GT(largest_difference(after, before), 1e-2);
  EXPECT_LT(largest_difference(after, NetworkClassifier(*s.network).logits(s.images)), 1e-4);
  s.network->resize_head(7);
  nn::initialize_head(*s.network, 5, 2);
  const at::Tensor wider = make_classifier(*s.network)->logits(s.images);
  EXPECT_EQ(wider.size(1), 7);
  EXPECT_LT(largest_difference(wider, NetworkClassifier(*s.network).logits(s.images)), 1e-4);
}

TEST(FrozenClassifier, TakesImagesOfOtherSizesToLibtorch) {
  Subject s;
  const at::Tensor large = at::rand({2, 3, 48, 40});
  const auto frozen = make_classifier(*s.network);
  EXPECT_TRUE(at::equal(frozen->logits(large), NetworkClassifier(*s.network).logits(large)));
}

TEST(FrozenClassifier, AnImagesAttackDependsOnItAlone) {
  Subject s;
  PgdOptions options;
  options.steps = 7;
  const auto frozen = make_classifier(*s.network);
  const auto attacked = [&](const at::Tensor& images, const at::Tensor& labels,
                            const std::vector<std::int64_t>& ids) {
    const at::Tensor start = random_start(images, ids, options.threat, {});
    return pgd_iterate(*frozen, images, start, labels, options);
  };
  const at::Tensor all = attacked(s.images, s.labels, {0, 1, 2, 3, 4, 5});
  const at::Tensor one = attacked(s.images.narrow(0, 4, 1), s.labels.narrow(0, 4, 1), {4});
  EXPECT_TRUE(at::equal(one[0], all[4]));
}

}  // namespace
}  // namespace cmat::test
