// The warnings that the public AutoAttack raises, and ours, on the same small inputs. Two of its
// checks have another rule here (docs/attacks.md): a drop under Square, and the number of targets.
#include <gtest/gtest.h>

#include "cmat/eval/model_checks.h"
#include "golden_tensor.h"

namespace cmat::eval {
namespace {

using test::golden;
using test::golden_tensor;

TEST(FlagsGolden, OutputsThatAreProbabilities) {
  const nlohmann::json cases = golden("flags.json").at("softmax_output");
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, each] : cases.items()) {
    EXPECT_EQ(check_softmax(golden_tensor(each.at("output"))).raised, each.at("flag").get<bool>())
        << name;
  }
}

TEST(FlagsGolden, GradientsOfZero) {
  const nlohmann::json cases = golden("flags.json").at("zero_gradient");
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, each] : cases.items()) {
    const at::Tensor slope = golden_tensor(each.at("gradient"));
    const at::Tensor images = at::full_like(slope, 0.5).view({slope.size(0), 1, 1, -1});
    // Class 0 is right and has the logit 0, so class 1's logit is the margin.
    attack::FunctionClassifier model([&](const at::Tensor& x) {
      const at::Tensor other = (x.flatten(1) * slope).sum(1);
      return at::stack({at::zeros_like(other), other}, 1);
    });
    const at::Tensor labels = at::zeros({slope.size(0)}, at::kLong);
    EXPECT_EQ(check_zero_gradients(model, images, labels).raised, each.at("flag").get<bool>())
        << name;
  }
}

TEST(FlagsGolden, RandomOutputs) {
  const nlohmann::json cases = golden("flags.json").at("randomized");
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, each] : cases.items()) {
    const at::Tensor outputs = golden_tensor(each.at("outputs_of_5_forwards"));
    std::int64_t pass = 0;
    attack::FunctionClassifier model([&](const at::Tensor&) { return outputs[pass++]; });
    const at::Tensor images = at::full({outputs.size(1), 1, 2, 2}, 0.5, at::kDouble);
    EXPECT_EQ(check_randomised(model, images, golden_tensor(each.at("y"))).raised,
              each.at("flag").get<bool>())
        << name;
    EXPECT_EQ(pass, outputs.size(0));
  }
}

}  // namespace
}  // namespace cmat::eval
