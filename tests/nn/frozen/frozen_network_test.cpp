// The frozen network against libtorch in float64: every architecture, and random descriptions.
#include "cmat/nn/frozen/frozen_network.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cmat/core/error.h"
#include "nn/frozen/random_description.h"

namespace cmat::test {
namespace {

using nn::Description;
using nn::frozen::FrozenNetwork;

std::unique_ptr<nn::Network> random_weights(const Description& description, std::uint64_t seed) {
  auto network = nn::build_network(description, at::kFloat, at::kCPU);
  nn::initialize(*network, description, seed, 1);
  const at::NoGradGuard no_grad;
  at::manual_seed(seed);
  for (const nn::NamedTensor& t : network->buffers()) {
    at::Tensor tensor = t.tensor;
    if (t.name.ends_with("running_mean")) tensor.copy_(0.1 * at::randn(tensor.sizes()));
    if (t.name.ends_with("running_var")) tensor.copy_(0.3 + 1.2 * at::rand(tensor.sizes()));
  }
  for (const nn::NamedTensor& t : network->parameters()) {
    at::Tensor tensor = t.tensor.detach();
    if (t.name.ends_with("bias")) tensor.copy_(0.1 * at::randn(tensor.sizes()));
    if (tensor.dim() == 1 && t.name.ends_with("weight"))
      tensor.copy_(2.5 * at::rand(tensor.sizes()) - 1);
  }
  return network;
}

std::unique_ptr<nn::Network> in_double(const nn::Network& network, const Description& description) {
  auto twin = nn::build_network(description, at::kDouble, at::kCPU);
  const at::NoGradGuard no_grad;
  const auto copy = [](const std::vector<nn::NamedTensor>& from,
                       const std::vector<nn::NamedTensor>& to) {
    for (std::size_t i = 0; i < from.size(); ++i)
      to[i].tensor.detach().copy_(from[i].tensor.detach());
  };
  copy(network.parameters(), twin->parameters());
  copy(network.buffers(), twin->buffers());
  return twin;
}

struct Pass {
  at::Tensor logits, features, dx;
};

Pass torch_pass(nn::Network& network, const at::Tensor& images, const at::Tensor& dlogits) {
  const at::Tensor x = images.detach().clone().requires_grad_(true);
  Pass pass;
  pass.logits = network.forward(x);
  pass.dx = torch::autograd::grad({pass.logits}, {x}, {dlogits.to(x.scalar_type())})[0];
  pass.features = network.features(images).detach();
  pass.logits = pass.logits.detach();
  return pass;
}

double relative_error(const at::Tensor& a, const at::Tensor& exact) {
  const double norm = exact.to(at::kDouble).norm().item<double>();
  const double error = (a.to(at::kDouble) - exact.to(at::kDouble)).norm().item<double>();
  return norm > 0 ? error / norm : error;
}

/// Of each image, ascending.
std::vector<double> sorted_errors(const at::Tensor& a, const at::Tensor& exact) {
  std::vector<double> errors;
  for (std::int64_t i = 0; i < a.size(0); ++i) errors.push_back(relative_error(a[i], exact[i]));
  std::sort(errors.begin(), errors.end());
  return errors;
}

/// Share of the entries that point the other way, but for those that are 0 up to rounding.
double flipped_signs(const at::Tensor& a, const at::Tensor& exact) {
  const at::Tensor e = exact.to(at::kDouble);
  const at::Tensor counts = e.abs() > 1e-5 * e.abs().max();
  return (a.to(at::kDouble).sign() != e.sign())
      .logical_and(counts)
      .to(at::kDouble)
      .mean()
      .item<double>();
}

at::Tensor random_images(const Description& d, std::int64_t n) {
  return at::rand({n, d.channels, d.height, d.image_width});
}

/// Logits, features and gradient of a frozen network against float64. libtorch's own float32 is
/// measured beside it, since what is right is a matter of what rounding can do.
void expect_right(const Description& description, std::int64_t n, std::uint64_t seed,
                  double typical = 1e-4) {
  SCOPED_TRACE(text("batch ", n, ", seed ", seed));
  const auto network = random_weights(description, seed);
  const auto exact = in_double(*network, description);
  FrozenNetwork frozen(description);
  frozen.load(*network);
  const at::Tensor images = random_images(description, n);
  const at::Tensor dlogits = at::randn({n, description.head().out});
  const Pass right = torch_pass(*exact, images.to(at::kDouble), dlogits);
  const Pass torch32 = torch_pass(*network, images, dlogits);
  const at::Tensor logits = frozen.logits(images);
  const at::Tensor dx = frozen.input_gradient(dlogits);
  EXPECT_LT(relative_error(logits, right.logits), 3e-5);
  EXPECT_LT(relative_error(frozen.features(images), right.features), 3e-5);
  // A ReLU or a maximum that rounding tips over changes the gradient of its image by more than
  // rounding does, with libtorch's kernels as with these; most images have none.
  const std::vector<double> errors = sorted_errors(dx, right.dx);
  EXPECT_LT(errors[errors.size() / 2], typical) << sorted_errors(torch32.dx, right.dx).back();
  EXPECT_LT(errors.back(), 0.05);
  EXPECT_LT(flipped_signs(dx, right.dx), 0.01);
}

class Architecture : public ::testing::TestWithParam<std::string> {};

TEST_P(Architecture, EqualsFloat64) {
  nn::NetworkOptions options;
  options.architecture = GetParam();
  const bool imagenet = GetParam().ends_with("imagenet");
  if (imagenet) options.height = options.image_width = 65;
  for (double width : {0.25, 0.4375, 1.0}) {
    if (width == 1.0 && GetParam() != "resnet8" && GetParam() != "small_cnn") continue;
    options.width = width;
    options.classes = 5;
    if (GetParam() == "small_cnn") options.height = options.image_width = 28;
    // A large image has a ReLU at its brink almost surely.
    expect_right(nn::describe(options), imagenet ? 2 : 5, 7, imagenet ? 2e-2 : 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Frozen, Architecture, ::testing::ValuesIn(nn::architecture_names()),
                         [](const auto& tested) { return tested.param; });

TEST(FrozenNetwork, RandomDescriptionsEqualFloat64) {
  const int threads = at::get_num_threads();
  for (unsigned seed = 0; seed < 200; ++seed) {
    at::set_num_threads(seed % 8 ? 1 : 2);
    const Description description = RandomDescription(seed).make();
    expect_right(description, 1 + seed % 7, seed);
    if (HasFailure()) break;
  }
  at::set_num_threads(threads);
}

// Any thread may take the images of a chunk, and there may be fewer chunks than threads.
TEST(FrozenNetwork, MoreThreadsThanChunksOfImages) {
  nn::NetworkOptions options;
  options.architecture = "resnet8";
  options.classes = 5;
  const Description description = nn::describe(options);
  const auto network = random_weights(description, 3);
  const int threads = at::get_num_threads();
  const at::Tensor images = random_images(description, 9), slope = at::randn({9, 5});
  at::set_num_threads(1);
  FrozenNetwork alone(description), shared(description);
  alone.load(*network);
  shared.load(*network);
  for (int repeat = 0; repeat < 10; ++repeat) {
    for (std::int64_t n : {2, 4, 6, 9, 3}) {
      at::set_num_threads(1);
      const at::Tensor logits = alone.logits(images.narrow(0, 0, n));
      const at::Tensor dx = alone.input_gradient(slope.narrow(0, 0, n));
      at::set_num_threads(4);
      EXPECT_TRUE(shared.logits(images.narrow(0, 0, n)).equal(logits)) << n;
      EXPECT_TRUE(shared.input_gradient(slope.narrow(0, 0, n)).equal(dx)) << n;
    }
  }
  at::set_num_threads(threads);
}

TEST(FrozenNetwork, TakesImagesOfAnyLayout) {
  nn::NetworkOptions options;
  options.architecture = "resnet8";
  options.classes = 5;
  options.height = 21;
  options.image_width = 37;  // two vectors and a rest
  const Description description = nn::describe(options);
  FrozenNetwork frozen(description);
  frozen.load(*random_weights(description, 3));
  const at::Tensor images = random_images(description, 4), slope = at::randn({4, 5});
  const at::Tensor logits = frozen.logits(images), dx = frozen.input_gradient(slope);
  const at::Tensor last = images.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor turned = images.transpose(2, 3).contiguous().transpose(2, 3);
  for (const at::Tensor& same : {last, turned}) {
    ASSERT_FALSE(same.is_contiguous());
    EXPECT_TRUE(frozen.logits(same).equal(logits));
    EXPECT_TRUE(frozen.input_gradient(slope).equal(dx));
  }
}

struct TrainingPass {
  at::Tensor logits;
  std::vector<at::Tensor> gradients;  ///< of the images, then of the weights
};

TrainingPass training_pass(nn::Network& network, const at::Tensor& images,
                           const at::Tensor& dlogits) {
  network.set_training(true);
  std::vector<at::Tensor> wanted = {images.detach().clone().requires_grad_(true)};
  for (const nn::NamedTensor& p : network.parameters()) wanted.push_back(p.tensor);
  TrainingPass pass;
  pass.logits = network.forward(wanted[0]);
  pass.gradients = torch::autograd::grad({pass.logits}, wanted, {dlogits.to(images.scalar_type())});
  pass.logits = pass.logits.detach();
  return pass;
}

bool same(const TrainingPass& a, const TrainingPass& b) {
  bool equal = a.logits.equal(b.logits);
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    equal = equal && a.gradients[i].equal(b.gradients[i]);
  }
  return equal;
}

/// The largest error of a training pass on held weights, as a share of what is allowed.
double error_on_held_weights(const Description& description, std::uint64_t seed) {
  const auto network = random_weights(description, seed);
  const auto exact = in_double(*network, description);
  const at::Tensor images = random_images(description, 9);
  const at::Tensor dlogits = at::randn({9, 5});
  const TrainingPass right = training_pass(*exact, images.to(at::kDouble), dlogits);
  const TrainingPass torchs = training_pass(*network, images, dlogits);
  TrainingPass ours;
  {
    const nn::HeldWeights held(*network);
    ours = training_pass(*network, images, dlogits);
  }
  EXPECT_FALSE(same(ours, torchs));
  EXPECT_LT(relative_error(ours.logits, right.logits), 3e-5);
  double worst = 0;
  for (std::size_t i = 0; i < right.gradients.size(); ++i) {
    const double allowed =
        std::max(1e-3, 10 * relative_error(torchs.gradients[i], right.gradients[i]));
    const double share = relative_error(ours.gradients[i], right.gradients[i]) / allowed;
    if (std::isnan(share)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, share);
  }
  return worst;
}

// Norms with the batch's statistics. A ReLU that stands at its brink, which is rare with so few
// images, changes all gradients below it, so the best of three networks counts.
TEST(HeldWeights, TrainAsFloat64Does) {
  for (const char* architecture : {"resnet8", "resnet18", "vgg16_bn"}) {
    SCOPED_TRACE(architecture);
    nn::NetworkOptions options;
    options.architecture = architecture;
    options.width = options.architecture == "resnet8" ? 1.0 : 0.25;
    options.classes = 5;
    const Description description = nn::describe(options);
    double least = std::numeric_limits<double>::infinity();
    for (std::uint64_t seed = 11; seed < 14; ++seed) {
      least = std::min(least, error_on_held_weights(description, seed));
    }
    EXPECT_LT(least, 1);
  }
}

TEST(HeldWeights, AreThoseOfTheLastRefresh) {
  nn::NetworkOptions options;
  options.architecture = "resnet8";
  options.classes = 10;
  const Description description = nn::describe(options);
  const auto network = random_weights(description, 5), other = random_weights(description, 5);
  const at::Tensor images = random_images(description, 4), dlogits = at::randn({4, 10});
  const TrainingPass torchs = training_pass(*network, images, dlogits);
  const auto change = [](nn::Network& n) {
    const at::NoGradGuard no_grad;
    for (const nn::NamedTensor& p : n.parameters()) p.tensor.detach().mul_(0.9);
  };
  change(*other);
  nn::HeldWeights others(*other);
  const TrainingPass changed = training_pass(*other, images, dlogits);
  {
    nn::HeldWeights held(*network);
    change(*network);
    EXPECT_FALSE(same(training_pass(*network, images, dlogits), changed));
    held.refresh();
    EXPECT_TRUE(same(training_pass(*network, images, dlogits), changed));
  }
  const auto untouched = random_weights(description, 5);
  EXPECT_TRUE(same(training_pass(*untouched, images, dlogits), torchs));
  untouched->use_frozen(false);
  const nn::HeldWeights nothing(*untouched);
  EXPECT_TRUE(same(training_pass(*untouched, images, dlogits), torchs));
}

// An image of another size, and a pass without a graph, go through libtorch.
TEST(HeldWeights, ServeTrainingPassesOfTheirSizeOnly) {
  nn::NetworkOptions options;
  options.architecture = "resnet8";
  const Description description = nn::describe(options);
  const auto network = random_weights(description, 5);
  const auto logits = [&](const at::Tensor& images) {
    network->set_training(true);
    return network->forward(images).detach();
  };
  const at::Tensor large = at::rand({2, 3, 40, 48}), usual = random_images(description, 2);
  const at::Tensor large_logits = logits(large);
  const at::NoGradGuard no_grad;
  const at::Tensor usual_logits = logits(usual);
  const nn::HeldWeights held(*network);
  EXPECT_TRUE(logits(usual).equal(usual_logits));
  const at::AutoGradMode with_grad(true);
  EXPECT_TRUE(logits(large).equal(large_logits));
  EXPECT_FALSE(logits(usual).equal(usual_logits));
}

}  // namespace
}  // namespace cmat::test
