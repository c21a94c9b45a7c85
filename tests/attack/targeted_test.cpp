// Attacks towards chosen classes, on linear models where the distance to each class is known.
#include "attack_helpers.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/registry.h"

namespace cmat::attack {
namespace {

/// Classes in a row: class c is the nearest to s = w.x + b of 0, 1, 2, ..., since its logit is
/// c s - c^2 / 2. So between the label and a class two further on lies a third, which an attack has
/// to pass through, and the distance to a class is that to a plane.
struct RowOfClasses {
  LinearModel model;
  at::Tensor w, x, y;
  double bias;

  /// Distance to where class t > y begins, s = t - 1/2. The box does not matter: all pixels have
  /// room.
  std::vector<double> distances(const at::Tensor& targets, Norm norm) const {
    const at::Tensor gap = targets.to(at::kDouble) - 0.5 - (x.flatten(1).matmul(w) + bias);
    const at::Tensor length = norm == Norm::linf ? w.abs().sum()
                              : norm == Norm::l2 ? w.norm()
                                                 : w.abs().max();
    const at::Tensor all = (gap / length).contiguous();
    return {all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()};
  }
};

RowOfClasses row_of_classes(std::int64_t classes) {
  Random random({.seed = 5});
  const std::int64_t n = 12, size = 3 * 4 * 4;
  const auto draw = [&](std::int64_t count, const auto& value) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& v : values) v = value();
    return at::tensor(values, at::kDouble);
  };
  const at::Tensor w = draw(size, [&] { return random.normal(); });
  const at::Tensor x =
      draw(n * size, [&] { return random.uniform(0.45, 0.55); }).view({n, 3, 4, 4});
  const double bias = 0.4 - 0.5 * w.sum().item<double>();  // between the classes 0 and 1
  const at::Tensor c = at::arange(classes, at::TensorOptions().dtype(at::kDouble));
  LinearModel model(c.unsqueeze(1) * w, c * bias - c * c / 2);
  const at::Tensor y = model.logits(x).argmax(1);
  return {model, w, x, y, bias};
}

/// A radius in the widest gap of the sorted distances, so that about half of the images can get
/// there.
double radius_between(std::vector<double> distances) {
  std::sort(distances.begin(), distances.end());
  std::size_t best = 3;
  for (std::size_t i = 3; i + 3 < distances.size(); ++i) {
    if (distances[i + 1] - distances[i] > distances[best + 1] - distances[best]) best = i;
  }
  return (distances[best] + distances[best + 1]) / 2;
}

struct Sent {
  const char* name;
  Norm norm;
  double tolerance;  ///< images nearer to eps than this share of it may stay where they are
};

class Targeted : public testing::TestWithParam<Sent> {};

TEST_P(Targeted, ReachesExactlyWhatLiesWithinTheRadius) {
  RowOfClasses c = row_of_classes(4);
  const at::Tensor targets = c.y + 2;
  const std::vector<double> distances = c.distances(targets, GetParam().norm);
  const double eps = radius_between(distances);
  const auto attack = make_attack(GetParam().name, {GetParam().norm, eps});
  const AttackResult r = attack->run_targeted(c.model, c.x, c.y, targets, ids(12), {.seed = 1});
  EXPECT_TRUE(r.fooled.equal(r.predictions == targets));
  EXPECT_TRUE(r.predictions.equal(c.model.logits(r.adversarial).argmax(1)));
  int near = 0, far = 0;
  for (std::int64_t i = 0; i < 12; ++i) {
    const double d = distances[static_cast<std::size_t>(i)];
    SCOPED_TRACE(text("image ", i, " at ", d, " of ", eps));
    const bool fooled = r.fooled[i].item<bool>();
    if (d > eps * (1 + 1e-9)) {
      EXPECT_FALSE(fooled);
      ++far;
    } else if (d <= eps * (1 - GetParam().tolerance)) {
      EXPECT_TRUE(fooled);
      ++near;
    }
    if (r.nearest.defined()) {
      EXPECT_GE(r.nearest[i].item<double>(), d * (1 - 1e-9));
      EXPECT_LE(r.nearest[i].item<double>(), d * (1 + GetParam().tolerance));
    }
  }
  EXPECT_GE(near, 3);
  EXPECT_GE(far, 3);
}

TEST_P(Targeted, ARowAloneIsTheSameAsInItsBatch) {
  RowOfClasses c = row_of_classes(4);
  const at::Tensor targets = c.y + 2;
  const double eps = radius_between(c.distances(targets, GetParam().norm));
  const auto attack = make_attack(GetParam().name, {GetParam().norm, eps});
  const AttackResult whole = attack->run_targeted(c.model, c.x, c.y, targets, ids(12), {.seed = 1});
  for (std::int64_t i : {0, 5, 11}) {
    const auto row = [i](const at::Tensor& t) { return t.narrow(0, i, 1); };
    const AttackResult alone =
        attack->run_targeted(c.model, row(c.x), row(c.y), row(targets), {i}, {.seed = 1});
    EXPECT_TRUE(alone.fooled.equal(row(whole.fooled))) << i;
    EXPECT_LE(test::max_difference(alone.adversarial, row(whole.adversarial)), 1e-9) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Attack, Targeted,
    testing::Values(Sent{"fgsm", Norm::linf, 0}, Sent{"bim20", Norm::linf, 0},
                    Sent{"mim20", Norm::linf, 0}, Sent{"pgd20x2", Norm::linf, 0},
                    Sent{"bim20", Norm::l2, 0}, Sent{"pgd50", Norm::l2, 0.02},
                    Sent{"apgd-ce50", Norm::linf, 0.01}, Sent{"apgd-dlr50", Norm::linf, 0.01},
                    Sent{"apgd-t50", Norm::l2, 0.01}, Sent{"apgd-ce", Norm::l1, 0.25},
                    Sent{"square2000", Norm::linf, 0.05}, Sent{"fab20", Norm::linf, 0.01},
                    Sent{"fab-t20", Norm::l2, 0.01}, Sent{"cw200", Norm::l2, 0.02}),
    [](const auto& each) {
      std::string name = text(each.param.name, "_", norm_name(each.param.norm));
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

/// With two classes there is one wrong class, so the same losses are climbed from the same starts.
TEST(TargetedOfTwoClasses, IsTheAttackWithoutTargets) {
  LinearCase c = linear_case(2, /*box=*/false, 7);
  for (const auto& [name, norm] :
       std::vector<std::pair<const char*, Norm>>{{"fgsm", Norm::linf},
                                                 {"apgd-dlr20", Norm::linf},
                                                 {"apgd-dlr20", Norm::l2},
                                                 {"square50", Norm::l2},
                                                 {"cw50", Norm::l2},
                                                 {"ead50", Norm::l1},
                                                 {"jsma", Norm::l1}}) {
    SCOPED_TRACE(name);
    const auto attack = make_attack(name, {norm, norm == Norm::linf ? 0.03 : 0.3});
    const AttackResult any = attack->run(c.model, c.x, c.y, ids(5), {.seed = 1});
    const AttackResult sent = attack->run_targeted(c.model, c.x, c.y, 1 - c.y, ids(5), {.seed = 1});
    EXPECT_TRUE(sent.adversarial.equal(any.adversarial));
    EXPECT_TRUE(sent.fooled.equal(any.fooled));
    EXPECT_EQ(sent.forwards, any.forwards);
  }
}

TEST(TargetedGoal, AThirdClassIsNoSuccess) {
  RowOfClasses c = row_of_classes(4);
  const at::Tensor targets = c.y + 2;
  // Far enough for the neighbour, not for the class behind it.
  const ThreatModel threat = {Norm::linf, 1.1 / c.w.abs().sum().item<double>()};
  const auto attack = make_attack("apgd-ce20", threat);
  EXPECT_TRUE(attack->run(c.model, c.x, c.y, ids(12), {}).fooled.all().item<bool>());
  const AttackResult sent = attack->run_targeted(c.model, c.x, c.y, targets, ids(12), {});
  EXPECT_FALSE(sent.fooled.all().item<bool>());
  // An image that is there already stays as it is.
  const AttackResult there =
      attack->run_targeted(c.model, c.x, at::full_like(c.y, 3), c.y, ids(12), {});
  EXPECT_TRUE(there.fooled.all().item<bool>());
  EXPECT_TRUE(there.adversarial.equal(c.x));
}

/// Why APGD towards a chosen class does not climb the ratio.
TEST(TargetedGoal, TheMarginLeadsThereWhereTheRatioLeadsAway) {
  const at::Tensor c = at::arange(4, at::TensorOptions().dtype(at::kDouble));
  const auto logits = [&](double s) { return (c * s - c * c / 2).unsqueeze(0); };
  const at::Tensor label = at::zeros({1}, at::TensorOptions().dtype(at::kLong)), target = label + 3;
  for (const double s : {-1.0, 0.0, 0.3}) {
    const auto rise = [&](const auto& loss) {
      return (loss(logits(s + 0.01)) - loss(logits(s))).template item<double>();
    };
    EXPECT_LT(rise([&](const at::Tensor& z) { return dlr_targeted(z, label, target); }), 0);
    EXPECT_GT(rise([&](const at::Tensor& z) { return Goal(label, target).margin(z); }), 0);
    EXPECT_GT(rise([&](const at::Tensor& z) { return Goal(label, target).cross_entropy(z); }), 0);
  }
}

TEST(TargetedGoal, RefusalsAreOneSentence) {
  LinearCase c = linear_case(4, /*box=*/false, 3);
  const auto said = [&](const char* name, const at::Tensor& targets) {
    const auto attack = make_attack(name, {Norm::linf, 0.03}, {.classes = 4});
    return message_of([&] { attack->run_targeted(c.model, c.x, c.y, targets, ids(5), {}); });
  };
  const at::Tensor next = (c.y + 1).remainder(4);
  EXPECT_EQ(said("pgd", next), "");
  at::Tensor own = next.clone();
  own[3] = c.y[3];
  EXPECT_EQ(said("pgd", own), text("the target of image 3 of a batch is its own label, ",
                                   c.y[3].item<std::int64_t>(), ": choose another class for it"));
  for (const char* name : {"pgd", "apgd-ce", "square", "fab"}) {
    EXPECT_EQ(said(name, at::full_like(c.y, 7)),
              "target 7 is not among the network's classes, 0 to 3");
  }
  EXPECT_EQ(said("pgd", next - 9), text("an attack takes targets from 0 on, but one is ",
                                        next.min().item<std::int64_t>() - 9));
  EXPECT_EQ(said("pgd", next.narrow(0, 0, 4)),
            "an attack towards chosen classes takes one target for each of 5 images as 64-bit "
            "integers, not Long of the shape [4]");
  EXPECT_NE(said("pgd", next.to(at::kDouble)), "");
  for (const char* name : {"deepfool", "autoattack", "aa-rand"}) {
    const std::string message = said(name, next);
    EXPECT_TRUE(message.ends_with(
        "cannot be sent to chosen classes: use fgsm, fgsm-rs, bim, mim, pgd, apgd-ce, apgd-dlr, "
        "apgd-t, fab, fab-t, square, cw, ead, jsma"))
        << message;
  }
  for (const AttackName& entry : attack_names()) {
    const Norm norm = entry.norms.front();
    EXPECT_EQ(make_attack(entry.name, {norm, 0.03}, {.classes = 4})->takes_targets(), entry.targets)
        << entry.name;
  }
}

}  // namespace
}  // namespace cmat::attack
