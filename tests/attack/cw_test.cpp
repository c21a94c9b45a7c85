#include "cmat/attack/cw.h"

#include "attack_helpers.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

TEST(CwGolden, Variables) {
  const nlohmann::json entry = golden("cw_l2.json").at("tanh");
  const at::Tensor x = golden_tensor(entry.at("x")), w = golden_tensor(entry.at("w"));
  EXPECT_LE(max_difference(cw_variables(x), w), 1e-9);
  EXPECT_LE(max_difference((cw_variables(x).tanh() + 1) / 2, golden_tensor(entry.at("x_back"))),
            1e-12);
}

TEST(CwGolden, TenStepsOfAdam) {
  const nlohmann::json runs = golden("cw_l2.json").at("formula");
  ASSERT_FALSE(runs.empty());
  for (const auto& [name, run] : runs.items()) {
    SCOPED_TRACE(name);
    const GoldenNet net = golden_net(name.substr(0, name.find('.')));
    NetworkClassifier model(*net.network);
    const at::Tensor constants = at::full({6}, run.at("c").get<double>(), at::kDouble);
    const CwRun actual = cw_run(model, net.x, net.y, constants,
                                {.threat = {Norm::l2, no_radius},
                                 .steps = run.at("steps"),
                                 .learning_rate = run.at("lr"),
                                 .kappa = run.at("kappa")});
    const nlohmann::json& rows = run.at("stable_rows");
    const auto expect_rows = [&](const at::Tensor& values, const char* key, std::int64_t dim) {
      const at::Tensor expected = golden_tensor(run.at(key));
      EXPECT_LE(max_difference(marked(rows, values, dim), marked(rows, expected, dim)), 1e-9)
          << key;
    };
    expect_rows(actual.l2_squared, "l2_squared", 1);
    expect_rows(actual.f, "f", 1);
    expect_rows(actual.predictions, "pred", 1);
    expect_rows(actual.x, "x_after_last_step", 0);
    // w of a pixel at the edge of the box is steep in the pixel: rounding shows there.
    EXPECT_LE(max_difference(actual.w, golden_tensor(run.at("w_after_last_step"))), 1e-8);
  }
}

/// x_best of the golden run is what the attack returns with a single c.
TEST(CwGolden, TheNearestFooledIterate) {
  const nlohmann::json runs = golden("cw_l2.json").at("formula");
  for (const auto& [name, run] : runs.items()) {
    SCOPED_TRACE(name);
    const GoldenNet net = golden_net(name.substr(0, name.find('.')));
    NetworkClassifier model(*net.network);
    const AttackResult result = make_cw({.threat = {Norm::l2, no_radius},
                                         .steps = run.at("steps"),
                                         .searches = 1,
                                         .learning_rate = run.at("lr"),
                                         .first_constant = run.at("c"),
                                         .stop_early = false})
                                    ->run(model, net.x, net.y, ids(6), {});
    const at::Tensor found = golden_tensor(run.at("found"));
    const at::Tensor clean_right = model.logits(net.x).argmax(1) == net.y;
    const at::Tensor rows = found.logical_and(clean_right).nonzero().squeeze(1);
    ASSERT_GT(rows.size(0), 0);
    EXPECT_LE(max_difference(result.adversarial.index_select(0, rows),
                             golden_tensor(run.at("x_best")).index_select(0, rows)),
              1e-9);
    EXPECT_TRUE(result.fooled.equal(found));
  }
}

TEST(Cw, ReachesTheExactDistanceOfLinearModels) {
  for (const std::int64_t classes : {2, 3, 4, 6}) {
    for (const bool box : {false, true}) {
      SCOPED_TRACE(text(classes, " classes, box ", box));
      LinearCase c = linear_case(classes, box, 4);
      const std::vector<double> exact = c.model.exact_distances(c.x, c.y, Norm::l2);
      const AttackResult result = make_cw({.threat = {Norm::l2, no_radius}, .steps = 400})
                                      ->run(c.model, c.x, c.y, ids(5), {});
      for (std::size_t i = 0; i < exact.size(); ++i) {
        const double found = result.nearest[static_cast<std::int64_t>(i)].item<double>();
        EXPECT_GE(found, exact[i] * (1 - 1e-9));
        if (std::isfinite(exact[i])) {
          // Adam's first step moves every pixel by about 0.005, which may be beyond the boundary.
          const double first_step = 0.005 * std::sqrt(48.0);
          EXPECT_LE(found, std::max(exact[i] * 1.02 + 1e-3, first_step)) << i;
        }
      }
    }
  }
}

TEST(Cw, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const auto attack = make_cw({.threat = {Norm::l2, 0.3}, .steps = 30, .searches = 5});
  const AttackResult all = expect_rows_stand_alone(*attack, model, net, {}, 1e-6);
  EXPECT_TRUE(all.fooled.equal(all.nearest <= 0.3));
}

TEST(Cw, EdgePixelsCanMove) {
  // One pixel decides, and it stands at 0: without drawing w in it could never move.
  const at::Tensor w = at::tensor({0.0, 1.0}, at::kDouble).view({2, 1});
  LinearModel model(w, at::tensor({0.25, 0.0}, at::kDouble));
  const at::Tensor x = at::zeros({1, 1, 1, 1}, at::kDouble), y = at::zeros({1}, at::kLong);
  const AttackResult result = make_cw({.steps = 400, .learning_rate = 0.05, .stop_early = false})
                                  ->run(model, x, y, {0}, {});
  EXPECT_TRUE(result.fooled.item<bool>());
  EXPECT_NEAR(result.nearest.item<double>(), 0.25, 0.01);
}

TEST(Cw, NamesAndRefusals) {
  EXPECT_EQ(make_cw({})->name(), "cw");
  EXPECT_EQ(make_cw({})->recipe(),
            "Carlini and Wagner, l2, what counts is within 0.5 (127.5/255), 9 values of c from "
            "0.001, 1000 steps of Adam at 0.01, kappa 0, images stop early");
  EXPECT_EQ(message_of([] {
              make_cw({.threat = {Norm::linf, 1}});
            }),
            "Carlini and Wagner's attack works in l2, not in linf");
  EXPECT_NE(message_of([] { make_cw({.steps = 0}); }), "");
  EXPECT_NE(message_of([] { make_cw({.kappa = -1}); }), "");
}

}  // namespace
}  // namespace cmat::attack
