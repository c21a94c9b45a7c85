#include "cmat/attack/apgd_step.h"

#include "attack_helpers.h"
#include "cmat/attack/rows.h"

namespace cmat::attack {
namespace {

using test::max_difference;

struct Drawn {
  at::Tensor images, x, previous, dx, step_size;

  explicit Drawn(at::ScalarType type, double eps = 0.1) {
    at::manual_seed(5);
    const auto options = at::TensorOptions(type);
    images = at::rand({7, 3, 5, 6}, options);
    const auto near = [&] {
      return project(images, images + eps * at::randn_like(images), {Norm::linf, eps});
    };
    x = near();
    previous = near();
    dx = at::randn_like(images);
    dx.masked_fill_(at::rand_like(dx) < 0.2, 0);  // no direction there
    step_size = 2 * eps * at::rand({7}, options);
  }
};

TEST(ApgdStep, TheLoopIsTheTensorFormula) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const Drawn d(type);
    const ApgdStep step(d.images, {Norm::linf, 0.1});
    for (const double weight : {1.0, 0.75, 0.25}) {
      const at::Tensor fast = step(d.x, d.dx, d.previous, d.step_size, weight);
      const at::Tensor slow = step.by_tensors(d.x, d.dx, d.previous, d.step_size, weight);
      EXPECT_LE(max_difference(fast, slow), type == at::kFloat ? 2e-7 : 1e-15) << weight;
      EXPECT_FALSE(fast.equal(d.x));
      // Never outside, whatever rounding does.
      EXPECT_TRUE((fast >= 0).logical_and(fast <= 1).all().item<bool>());
      EXPECT_TRUE(fast.equal(project(d.images, fast, {Norm::linf, 0.1})));
    }
  }
}

TEST(ApgdStep, OtherLayoutsGiveTheSame) {
  const Drawn d(at::kFloat);
  const ApgdStep step(d.images, {Norm::linf, 0.1});
  const at::Tensor fast = step(d.x, d.dx, d.previous, d.step_size, 0.75);
  const at::Tensor last = d.dx.contiguous(at::MemoryFormat::ChannelsLast);
  ASSERT_FALSE(last.is_contiguous());
  EXPECT_LE(max_difference(step(d.x, last, d.previous, d.step_size, 0.75), fast), 2e-7);
}

TEST(ApgdStep, OneValueByHand) {
  const auto one = [](double v) { return at::full({1, 1, 1, 1}, v, at::kDouble); };
  const ApgdStep step(one(0.5), {Norm::linf, 0.2});
  const auto go = [&](double x, double slope, double previous, double size, double weight) {
    return step(one(x), one(slope), one(previous), at::full({1}, size, at::kDouble), weight)
        .item<double>();
  };
  EXPECT_DOUBLE_EQ(go(0.5, 3, 0.5, 0.1, 1), 0.6);
  EXPECT_DOUBLE_EQ(go(0.5, -3, 0.5, 0.4, 1), 0.3);  // the ball ends there
  EXPECT_DOUBLE_EQ(go(0.5, 0, 0.5, 0.4, 1), 0.5);
  // Three quarters of 0.1 ahead, and a quarter of the last 0.04.
  EXPECT_DOUBLE_EQ(go(0.54, 1, 0.5, 0.1, 0.75), 0.54 + 0.075 + 0.01);
}

TEST(ApgdStep, WritesOverWhatNobodyElseHolds) {
  const Drawn d(at::kFloat);
  const ApgdStep step(d.images, {Norm::linf, 0.1});
  const at::Tensor before = d.previous.clone();
  const at::Tensor expected = step(d.x, d.dx, d.previous, d.step_size, 0.75);
  EXPECT_TRUE(d.previous.equal(before));  // the caller holds it still
  at::Tensor alone = d.previous.clone();
  const void* memory = alone.data_ptr();
  const at::Tensor over = step(d.x, d.dx, std::move(alone), d.step_size, 0.75);
  EXPECT_EQ(over.data_ptr(), memory);
  EXPECT_TRUE(over.equal(expected));
  at::Tensor viewed = d.previous.clone();
  const at::Tensor view = viewed.flatten(1);
  EXPECT_TRUE(step(d.x, d.dx, std::move(viewed), d.step_size, 0.75).equal(expected));
  EXPECT_TRUE(view.equal(before.flatten(1)));
}

TEST(TakeRows, CopiesTheChosenOnes) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const Drawn d(type);
    const at::Tensor mask = at::arange(7) % 3 == 1;
    const at::Tensor expected = at::where(spread(mask), d.x, d.previous);
    at::Tensor to = d.previous.clone();
    const void* memory = to.data_ptr();
    take_rows(mask, d.x, to);
    EXPECT_TRUE(to.equal(expected));
    EXPECT_EQ(to.data_ptr(), memory);
    at::Tensor other = d.previous.clone(at::MemoryFormat::ChannelsLast);
    take_rows(mask, d.x, other);
    EXPECT_TRUE(other.equal(expected));
  }
}

}  // namespace
}  // namespace cmat::attack
