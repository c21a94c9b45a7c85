// Objectives whose training passes use the frozen network's kernels give the gradients that
// libtorch gives, also where the weights move within a step.
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "cmat/nn/description.h"
#include "cmat/nn/frozen/frozen_network.h"
#include "defense/defense_helpers.h"

namespace cmat::defense {
namespace {

class ObjectiveOnFrozenKernels : public testing::TestWithParam<const char*> {
 protected:
  ObjectiveOnFrozenKernels() {
    nn::NetworkOptions options;
    options.architecture = "resnet8";
    options.classes = 10;
    description = nn::describe(options);
    at::manual_seed(1);
    batch.images = at::rand({16, 3, 32, 32});
    batch.labels = at::randint(10, {16}, at::kLong);
    for (std::int64_t i = 0; i < 16; ++i) batch.sample_ids.push_back(i);
  }

  std::vector<at::Tensor> gradients(bool frozen) {
    const auto network = nn::build_network(description, at::kFloat, at::kCPU);
    nn::initialize(*network, description, 3, 1);
    network->use_frozen(frozen);
    // Steps this small leave the image where it is, up to rounding, so that both see the same one.
    const auto objective =
        make(GetParam() + std::string("\nsteps = 1\nstep = \"1e-7\"\nfast_step = \"1e-7\""));
    objective->begin_stage();
    const StepLoss step = objective->step(*network, batch, {.seed = 1});
    return weight_gradients(step, *network);
  }

  nn::Description description;
  Batch batch;
};

TEST_P(ObjectiveOnFrozenKernels, HasLibtorchsGradients) {
  if (!nn::frozen::is_supported()) GTEST_SKIP() << "no vector instructions here";
  const std::vector<at::Tensor> ours = gradients(true), torchs = gradients(false);
  // The weights of TRADES with AWP move by the slope of a divergence between images that rounding
  // alone tells apart, which 1% does not bound.
  const std::string name = GetParam();
  const bool by_rounding =
      name.find("trades") != std::string::npos && name.find("awp") != std::string::npos;
  const double allowed = by_rounding ? 0.03 : 0.01;
  bool identical = true;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    identical = identical && ours[i].equal(torchs[i]);
    // A ReLU at its brink may tip over; a convolution by other weights would be off by much more.
    const double difference = (ours[i] - torchs[i]).norm().item<double>();
    EXPECT_LT(difference, allowed * torchs[i].norm().item<double>() + 1e-7) << i;
  }
  EXPECT_FALSE(identical);
}

INSTANTIATE_TEST_SUITE_P(All, ObjectiveOnFrozenKernels,
                         testing::Values("name = \"standard\"", "name = \"pgd-at\"",
                                         "name = \"trades\"", "name = \"mart\"", "name = \"fast\"",
                                         "name = \"anp-vs\"", "name = \"standard\"\nawp = 0.3",
                                         "name = \"trades\"\nawp = 0.3",
                                         "name = \"standard\"\ndistillation = 0.5"));

}  // namespace
}  // namespace cmat::defense
