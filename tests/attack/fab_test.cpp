#include "cmat/attack/fab.h"

#include "attack_helpers.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

TEST(FabGolden, Runs) {
  const nlohmann::json runs = golden("fab.json").at("runs");
  ASSERT_FALSE(runs.empty());
  for (const auto& [name, run] : runs.items()) {
    SCOPED_TRACE(name);
    const GoldenNet net = golden_net(name.substr(0, name.find('.')));
    NetworkClassifier model(*net.network);
    FabOptions options = {.threat = {golden_norm(run.at("norm")), no_radius},
                          .steps = run.at("n_iter"),
                          .alpha_max = run.at("alpha_max"),
                          .eta = run.at("eta"),
                          .beta = run.at("beta")};
    if (!run.at("target_rank").is_null()) {
      options.targeted = true;
      options.targets = 1;
      options.first_rank = run.at("target_rank");
    }
    const AttackResult result = make_fab(options)->run(model, net.x, net.y, ids(6), {});
    const nlohmann::json& rows = run.at("stable_rows");
    const auto expect_rows = [&](const at::Tensor& actual, const char* key) {
      EXPECT_LE(max_difference(marked(rows, actual), marked(rows, golden_tensor(run.at(key)))),
                1e-9)
          << key;
    };
    expect_rows(result.adversarial, "x_adv");
    expect_rows(result.distance, "size");
    expect_rows(result.predictions, "pred");
    const at::Tensor attacked = result.nearest != 0;
    expect_rows(attacked, "attacked");
    expect_rows(attacked.logical_and(result.nearest.isfinite()), "found");
  }
}

TEST(Fab, ReachesTheExactDistanceOfLinearModels) {
  for (const std::int64_t classes : {2, 3, 4, 6}) {
    for (const bool box : {false, true}) {
      for (const Norm norm : {Norm::linf, Norm::l2}) {
        for (const bool targeted : {false, true}) {
          SCOPED_TRACE(text(classes, " classes, box ", box, ", ", norm_name(norm), " ", targeted));
          LinearCase c = linear_case(classes, box, 2);
          const std::vector<double> exact = c.model.exact_distances(c.x, c.y, norm);
          const AttackResult result =
              make_fab({.threat = {norm, no_radius}, .steps = 30, .targeted = targeted})
                  ->run(c.model, c.x, c.y, ids(5), {});
          for (std::size_t i = 0; i < exact.size(); ++i) {
            const double found = result.nearest[static_cast<std::int64_t>(i)].item<double>();
            EXPECT_GE(found, exact[i] * (1 - 1e-9));
            // Its steps are 5% too long on purpose, so it ends a little beyond the boundary.
            // Untargeted, it follows the plane that is nearest without a box.
            if (std::isfinite(exact[i]) && (targeted || !box || classes == 2)) {
              EXPECT_LE(found, exact[i] * 1.01) << i;
            }
          }
        }
      }
    }
  }
}

TEST(Fab, TheRadiusOnlyDecidesWhatCounts) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const AttackResult all =
      make_fab({.threat = {Norm::l2, no_radius}})->run(model, net.x, net.y, ids(6), {});
  const double eps = 0.06;
  const AttackResult some =
      make_fab({.threat = {Norm::l2, eps}})->run(model, net.x, net.y, ids(6), {});
  EXPECT_TRUE(some.nearest.equal(all.nearest));
  EXPECT_TRUE(some.fooled.equal(all.nearest <= eps));
  EXPECT_TRUE(marked_rows_equal(some.adversarial, all.adversarial, some.fooled));
  EXPECT_TRUE(marked_rows_equal(some.adversarial, net.x, some.fooled.logical_not()));
  const AttackResult quick = make_fab({.threat = {Norm::l2, eps}, .stop_inside = true})
                                 ->run(model, net.x, net.y, ids(6), {});
  EXPECT_TRUE(quick.fooled.equal(some.fooled));
}

TEST(Fab, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    for (const bool targeted : {false, true}) {
      for (const bool stop : {false, true}) {
        const auto attack = make_fab({.threat = {norm, norm == Norm::linf ? 0.01 : 0.1},
                                      .steps = 8,
                                      .restarts = 2,
                                      .targeted = targeted,
                                      .stop_inside = stop});
        expect_rows_stand_alone(*attack, model, net, {.seed = 3});
      }
    }
  }
}

TEST(Fab, MoreRestartsNeverMoveAway) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  FabOptions options = {.threat = {Norm::linf, 0.02}, .steps = 5};
  const AttackResult once = make_fab(options)->run(model, net.x, net.y, ids(6), {});
  options.restarts = 3;
  const AttackResult thrice = make_fab(options)->run(model, net.x, net.y, ids(6), {});
  EXPECT_TRUE((thrice.nearest <= once.nearest).all().item<bool>());
}

TEST(Fab, CountsNamesAndRefusals) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const AttackResult result = make_fab({.threat = {Norm::linf, 0.01}, .steps = 3, .targeted = true})
                                  ->run(model, net.x, net.y, ids(6), {});
  EXPECT_EQ(result.backwards, 6 * 4 * 3);
  EXPECT_EQ(result.forwards, 6 * (1 + 4 * 3 * 2 + 1));
  EXPECT_EQ(make_fab({.targeted = true})->name(), "fab-t");
  EXPECT_EQ(make_fab({.steps = 20, .restarts = 5})->name(), "fab20x5");
  EXPECT_EQ(make_fab({.targeted = true})->recipe(),
            "FAB, linf, what counts is within 0.0313725 (8/255), 100 steps, 1 run for each of at "
            "most 9 target classes from rank 2, alpha_max 0.1, eta 1.05, beta 0.9");
  EXPECT_NE(message_of([] { make_fab({.steps = 0}); }), "");
  EXPECT_NE(message_of([] { make_fab({.first_rank = 1}); }), "");
}

}  // namespace
}  // namespace cmat::attack
