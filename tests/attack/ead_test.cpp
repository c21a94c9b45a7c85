#include "cmat/attack/ead.h"

#include "attack_helpers.h"
#include "cmat/attack/cw.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

TEST(EadGolden, TenStepsOfFista) {
  const nlohmann::json runs = golden("ead.json").at("formula");
  ASSERT_FALSE(runs.empty());
  for (const auto& [name, run] : runs.items()) {
    SCOPED_TRACE(name);
    const GoldenNet net = golden_net(run.at("net"));
    NetworkClassifier model(*net.network);
    const at::Tensor constants = at::full({6}, run.at("c").get<double>(), at::kDouble);
    const EadRun actual = ead_run(model, net.x, net.y, constants,
                                  {.threat = {Norm::l1, no_radius},
                                   .steps = run.at("steps"),
                                   .learning_rate = run.at("lr"),
                                   .beta = run.at("beta"),
                                   .kappa = run.at("kappa")});
    const nlohmann::json& rows = run.at("stable_rows");
    const auto expect_rows = [&](const at::Tensor& values, const char* key, std::int64_t dim) {
      const at::Tensor expected = golden_tensor(run.at(key));
      EXPECT_LE(max_difference(marked(rows, values, dim), marked(rows, expected, dim)), 1e-9)
          << key;
    };
    ASSERT_EQ(std::ssize(actual.x), 10);
    expect_rows(actual.x.front(), "x1", 0);
    expect_rows(actual.y.front(), "y1", 0);
    expect_rows(actual.x.back(), "x10", 0);
    expect_rows(actual.y.back(), "y10", 0);
    expect_rows(actual.l1, "l1_each_step", 1);
    expect_rows(actual.l2_squared, "l2_squared_each_step", 1);
    expect_rows(actual.predictions, "pred_each_step", 1);
  }
}

/// It is no exact minimiser of L1, because of its squared L2 and of how coarsely it shrinks: what
/// counts is that it never claims too little, and that its points are nearer in L1 than those of an
/// attack in L2.
TEST(Ead, IsNearerInL1ThanCarliniAndWagner) {
  for (const std::int64_t classes : {2, 3, 4, 6}) {
    for (const bool box : {false, true}) {
      SCOPED_TRACE(text(classes, " classes, box ", box));
      LinearCase c = linear_case(classes, box, 4);
      const std::vector<double> exact = c.model.exact_distances(c.x, c.y, Norm::l1);
      const AttackResult result =
          make_ead({.threat = {Norm::l1, no_radius}, .steps = 400, .beta = 0.01})
              ->run(c.model, c.x, c.y, ids(5), {});
      const AttackResult other = make_cw({.threat = {Norm::l2, no_radius}, .steps = 400})
                                     ->run(c.model, c.x, c.y, ids(5), {});
      const at::Tensor others = distance(c.x, other.adversarial, Norm::l1);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        const auto row = static_cast<std::int64_t>(i);
        const double found = result.nearest[row].item<double>();
        EXPECT_GE(found, exact[i] * (1 - 1e-9));
        if (!std::isfinite(exact[i])) continue;
        EXPECT_LE(found, 4.5 * exact[i]) << i;
        EXPECT_LT(found, others[row].item<double>()) << i;
      }
    }
  }
}

TEST(Ead, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const auto attack = make_ead({.threat = {Norm::l1, 3}, .steps = 30, .searches = 5});
  const AttackResult all = expect_rows_stand_alone(*attack, model, net, {}, 1e-6);
  EXPECT_TRUE(all.fooled.equal(all.nearest <= 3));
}

TEST(Ead, NamesAndRefusals) {
  EXPECT_EQ(make_ead({})->name(), "ead");
  EXPECT_EQ(make_ead({.steps = 30})->name(), "ead30");
  EXPECT_EQ(make_ead({})->recipe(),
            "elastic net, l1, what counts is within 12 (3060/255), 9 values of c from 0.001, 1000 "
            "steps of FISTA at 0.01, beta 0.001, kappa 0, images stop early");
  EXPECT_EQ(message_of([] {
              make_ead({.threat = {Norm::l2, 1}});
            }),
            "the elastic-net attack works in l1, not in l2");
  EXPECT_NE(message_of([] { make_ead({.searches = 0}); }), "");
  EXPECT_NE(message_of([] { make_ead({.beta = -1}); }), "");
}

}  // namespace
}  // namespace cmat::attack
