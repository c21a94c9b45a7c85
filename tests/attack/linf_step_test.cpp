#include "cmat/attack/linf_step.h"

#include <ATen/Parallel.h>

#include <initializer_list>

#include "attack_helpers.h"

namespace cmat::attack {
namespace {

TEST(LinfStep, TheLoopHasTheBitsOfTheTensorFormula) {
  at::manual_seed(5);
  for (const auto type : {at::kFloat, at::kDouble}) {
    const at::Tensor images = at::rand({7, 3, 5, 6}, type);
    const Projector project_back(images, {Norm::linf, 0.1});
    const at::Tensor x = project_back(images + 0.1 * at::randn_like(images));
    at::Tensor dx = at::randn_like(images);
    dx.masked_fill_(at::rand_like(dx) < 0.2, 0);  // no direction there
    for (const double step : {0.0, 0.03, 0.4}) {
      const at::Tensor fast = linf_step(project_back, x, dx, step);
      EXPECT_TRUE(fast.equal(linf_step_by_tensors(project_back, x, dx, step))) << step;
      EXPECT_EQ(fast.equal(x), step == 0);
    }
    const at::Tensor last = dx.contiguous(at::MemoryFormat::ChannelsLast);
    ASSERT_FALSE(last.is_contiguous());
    EXPECT_TRUE(linf_step(project_back, x, last, 0.03).equal(linf_step(project_back, x, dx, 0.03)));
  }
}

TEST(LinfStep, ThreadsShareManyValues) {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const at::Tensor images = at::rand({40, 3, 32, 32}), dx = at::randn_like(images);
  const Projector project_back(images, {Norm::linf, 0.1});
  const at::Tensor shared = linf_step(project_back, images, dx, 0.03);
  at::set_num_threads(threads);
  EXPECT_TRUE(shared.equal(linf_step_by_tensors(project_back, images, dx, 0.03)));
}

TEST(LinfStep, OneValueByHand) {
  const auto one = [](double v) { return at::full({1, 1, 1, 1}, v, at::kDouble); };
  const auto go = [&](double x, double slope, double step) {
    return linf_step(Projector(one(0.9), {Norm::linf, 0.2}), one(x), one(slope), step)
        .item<double>();
  };
  EXPECT_DOUBLE_EQ(go(0.9, 7, 0.05), 0.95);
  EXPECT_DOUBLE_EQ(go(0.9, 7, 0.3), 1);     // the box ends there
  EXPECT_DOUBLE_EQ(go(0.9, -7, 0.3), 0.7);  // and there the ball
  EXPECT_DOUBLE_EQ(go(0.8, 0, 0.3), 0.8);
}

}  // namespace
}  // namespace cmat::attack
