// Each check of a network against one with that fault, and silent for one without.
#include "cmat/eval/model_checks.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "cmat/attack/losses.h"
#include "cmat/attack/pgd.h"
#include "cmat/attack/registry.h"
#include "cmat/core/random.h"
#include "cmat/eval/joint.h"

namespace cmat::eval {
namespace {

constexpr std::int64_t kCount = 16;

at::Tensor drawn(at::IntArrayRef shape, std::uint64_t seed, bool normal) {
  Random random({.seed = seed});
  at::Tensor result = at::empty(shape, at::kDouble);
  auto* p = result.data_ptr<double>();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    p[i] = normal ? random.normal() : random.uniform();
  return result;
}

/// Four classes, smooth, on images of 3x4x4.
struct Clean {
  at::Tensor first = drawn({48, 24}, 1, true) * 0.3, second = drawn({24, 4}, 2, true);
  at::Tensor images = drawn({kCount, 3, 4, 4}, 3, false);
  at::Tensor operator()(const at::Tensor& x) const {
    return at::tanh((x - 0.5).flatten(1).matmul(first)).matmul(second);
  }
  at::Tensor labels() const { return (*this)(images).argmax(1); }
};

std::vector<std::string> raised(const std::vector<Finding>& findings) {
  std::vector<std::string> names;
  for (const Finding& f : findings) {
    EXPECT_EQ(f.message.find(". "), std::string::npos) << f.message;
    EXPECT_EQ(f.raised, f.images > 0);
    if (f.raised) names.push_back(f.check);
  }
  return names;
}

std::vector<std::string> raised_for(const attack::Forward& forward,
                                    attack::Norm norm = attack::Norm::linf) {
  const Clean clean;
  attack::FunctionClassifier model(forward);
  return raised(check_model(model, clean.images, clean.labels(), norm));
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TEST(ModelChecks, ACleanNetworkRaisesNone) {
  for (attack::Norm norm : {attack::Norm::linf, attack::Norm::l2, attack::Norm::l1})
    EXPECT_EQ(raised_for(Clean(), norm), std::vector<std::string>{});
  EXPECT_FALSE(check_train_mode(false).raised);
}

TEST(ModelChecks, RandomisedOutput) {
  std::uint64_t pass = 0;
  const auto names = raised_for([&](const at::Tensor& x) {
    return Clean()(x) + drawn({x.size(0), 4}, 100 + ++pass, true) * 0.01;
  });
  EXPECT_TRUE(has(names, "randomised"));
}

TEST(ModelChecks, SoftmaxOutput) {
  const auto names = raised_for([](const at::Tensor& x) { return Clean()(x).softmax(1); });
  EXPECT_EQ(names, std::vector<std::string>{"softmax-output"});
}

TEST(ModelChecks, ZeroGradientsAndAnUnboundedAttackThatFails) {
  // Pixels are rounded, as in a defence that quantises.
  const auto names = raised_for([](const at::Tensor& x) { return Clean()(x.mul(8).round() / 8); });
  EXPECT_TRUE(has(names, "zero-gradients"));
  EXPECT_TRUE(has(names, "unbounded"));
  EXPECT_FALSE(has(names, "eps-zero"));
}

TEST(ModelChecks, BatchStatistics) {
  const auto names =
      raised_for([](const at::Tensor& x) { return Clean()(x - x.mean({0}, true) + 0.5); });
  EXPECT_TRUE(has(names, "batch-statistics"));
}

TEST(ModelChecks, TrainMode) {
  const Finding finding = check_train_mode(true);
  EXPECT_TRUE(finding.raised);
  EXPECT_NE(finding.message.find("eval()"), std::string::npos);
}

/// Answers clean images in one way when it is asked for a verdict and in another when attacked, as a
/// program with preprocessing on one side only does.
class TwoFaced : public attack::FunctionClassifier {
 public:
  TwoFaced() : FunctionClassifier(Clean()) {}

 protected:
  at::Tensor do_verdict_logits(const at::Tensor& images) override {
    return Clean()(images) * (++verdicts_ > 1 ? -1.0 : 1.0);
  }

 private:
  int verdicts_ = 0;
};

TEST(ModelChecks, RadiusZeroMustGiveTheCleanAccuracy) {
  const Clean clean;
  TwoFaced model;
  const Finding finding = check_eps_zero(model, clean.images, clean.labels());
  EXPECT_TRUE(finding.raised);
  EXPECT_NE(finding.message.find("radius 0"), std::string::npos);
}

/// What was seen of an attack; `options` as they are.
Observed observed(attack::Attack& attack, const attack::ThreatModel& threat) {
  const Clean clean;
  attack::FunctionClassifier inner{attack::Forward(clean)};
  WatchedClassifier model(inner);
  const at::Tensor labels = clean.labels();
  std::vector<std::int64_t> ids(kCount);
  for (std::int64_t i = 0; i < kCount; ++i) ids[static_cast<std::size_t>(i)] = i;
  model.observe(clean.images, labels, threat);
  const auto result = attack.run(model, clean.images, labels, ids, {.seed = 1});
  return model.end(result.fooled, kCount);
}

/// Goes on after a success, back to where it began, as attacks do that return their last iterate.
class Forgetful : public attack::Attack {
 public:
  attack::AttackResult run(attack::Classifier& model, const at::Tensor& images,
                           const at::Tensor& labels, const std::vector<std::int64_t>& ids,
                           const Key& key) override {
    attack::make_attack("bim10", threat, {.classes = 4})->run(model, images, labels, ids, key);
    return attack::finish(model, images, labels, images, threat);
  }
  std::string name() const override { return "forgetful"; }
  std::string recipe() const override { return "for a test"; }
  attack::ThreatModel threat{attack::Norm::linf, 0.2};
};

TEST(Watched, AnAttackThatReturnsItsLastIterateLosesSuccesses) {
  Forgetful forgetful;
  const Observed lost = observed(forgetful, forgetful.threat);
  EXPECT_GT(lost.silent_successes, kCount / 2);
  const Finding finding = check_silent_success("forgetful", 0.2, lost.silent_successes);
  EXPECT_TRUE(finding.raised);
  EXPECT_EQ(finding.images, lost.silent_successes);
  const auto bim = attack::make_attack("bim10", forgetful.threat, {.classes = 4});
  EXPECT_EQ(observed(*bim, forgetful.threat).silent_successes, 0);
  // What is beyond the radius is no success.
  const attack::ThreatModel smaller{attack::Norm::linf, 1e-6};
  EXPECT_EQ(observed(forgetful, smaller).silent_successes, 0);
  EXPECT_FALSE(check_silent_success("bim10", 0.2, 0).raised);
}

TEST(Watched, AnAttackOfTinyStepsIsStillRising) {
  attack::PgdOptions options;
  options.threat = {attack::Norm::linf, 0.02};
  options.steps = 20;
  options.random_start = false;
  options.keep = attack::PgdOptions::Keep::best;
  options.step_pixels = 0.0005;
  const Observed slow = observed(*attack::make_pgd(options), options.threat);
  options.step_pixels = 0.0025;
  const Observed done = observed(*attack::make_pgd(options), options.threat);
  ASSERT_EQ(slow.passes, 20);
  EXPECT_TRUE(check_still_rising("pgd20", 0.02, slow).raised) << slow.late_rise / slow.rise;
  EXPECT_FALSE(check_still_rising("pgd20", 0.02, done).raised) << done.late_rise / done.rise;
  EXPECT_GT(done.rise, slow.rise);
}

TEST(Watched, CleanNetworksRaiseNothingUnderTheDefaultAttacks) {
  const attack::ThreatModel threat{attack::Norm::linf, 0.05};
  for (const char* name : {"apgd-ce", "apgd-t", "pgd20x2", "fab", "square200", "bim50"}) {
    const Observed seen = observed(*attack::make_attack(name, threat, {.classes = 4}), threat);
    EXPECT_EQ(seen.silent_successes, 0) << name;
    EXPECT_FALSE(check_still_rising(name, 0.05, seen).raised) << name;
  }
}

TEST(Joint, IsItsMembersSideBySide) {
  const Clean clean;
  const attack::Forward other = [&](const at::Tensor& x) { return clean(1 - x).narrow(1, 0, 3); };
  const attack::Forward both = [&](const at::Tensor& x) { return at::cat({clean(x), other(x)}, 1); };
  attack::FunctionClassifier a{attack::Forward(clean)}, b(other), whole(both);
  JointClassifier joint({&a, &b});
  EXPECT_TRUE(joint.logits(clean.images).equal(whole.logits(clean.images)));
  const at::Tensor labels = at::arange(kCount, at::kLong) % 7;
  for (bool dlr : {false, true}) {
    const attack::LossFunction loss = [&](const at::Tensor& z) {
      return dlr ? attack::dlr(z, labels) : attack::cross_entropy(z, labels);
    };
    const attack::Gradient one = joint.gradient(clean.images, loss),
                           two = whole.gradient(clean.images, loss);
    EXPECT_LT((one.dx - two.dx).abs().max().item<double>(), 1e-12);
    EXPECT_TRUE(one.loss.equal(two.loss));
  }
  EXPECT_LT((joint.jacobian(clean.images) - whole.jacobian(clean.images)).abs().max().item<double>(),
            1e-12);
  EXPECT_EQ(joint.forwards(), 4 * kCount);
}

}  // namespace
}  // namespace cmat::eval
