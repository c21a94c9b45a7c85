#include "cmat/attack/deepfool.h"

#include "attack_helpers.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;
using Form = DeepFoolOptions::Form;

void expect_golden(const char* form_name, Form form) {
  const nlohmann::json runs = golden("deepfool.json").at(form_name);
  ASSERT_FALSE(runs.empty());
  for (const auto& [net_name, run] : runs.items()) {
    SCOPED_TRACE(net_name);
    const GoldenNet net = golden_net(net_name);
    NetworkClassifier model(*net.network);
    const DeepFoolRun actual = deepfool_run(model, net.x, net.y,
                                            {.threat = {Norm::l2, no_radius},
                                             .steps = run.at("steps"),
                                             .overshoot = run.at("overshoot"),
                                             .form = form});
    const nlohmann::json& rows = run.at("stable_rows");
    const auto expect_rows = [&](const at::Tensor& values, const char* key) {
      EXPECT_LE(max_difference(marked(rows, values), marked(rows, golden_tensor(run.at(key)))),
                1e-9)
          << key;
    };
    expect_rows(actual.x, "x_adv");
    expect_rows(actual.steps, "steps_used");
    expect_rows(model.logits(actual.x).argmax(1), "pred");
    expect_rows((actual.x - net.x).flatten(1).norm(2, 1), "l2");
  }
}

TEST(DeepFoolGolden, ClipEachStep) { expect_golden("clip_each_step", Form::clip_each_step); }
TEST(DeepFoolGolden, SumOfSteps) { expect_golden("sum_of_steps", Form::sum_of_steps); }

TEST(DeepFool, IsWithinTheOvershootOfTheExactDistanceOfLinearModels) {
  for (const std::int64_t classes : {2, 3, 4, 5, 6}) {
    for (const bool box : {false, true}) {
      for (const Norm norm : {Norm::linf, Norm::l2}) {
        for (const Form form : {Form::box, Form::clip_each_step, Form::sum_of_steps}) {
          SCOPED_TRACE(text(classes, " classes, box ", box, ", ", norm_name(norm), ", form ",
                            static_cast<int>(form)));
          LinearCase c = linear_case(classes, box, 3);
          const std::vector<double> exact = c.model.exact_distances(c.x, c.y, norm);
          const AttackResult result = make_deepfool({.threat = {norm, no_radius}, .form = form})
                                          ->run(c.model, c.x, c.y, ids(5), {});
          for (std::size_t i = 0; i < exact.size(); ++i) {
            const double found = result.nearest[static_cast<std::int64_t>(i)].item<double>();
            EXPECT_GE(found, exact[i] * (1 - 1e-9));
            if (!std::isfinite(exact[i])) continue;
            // In the box, it follows the plane that is nearest without one.
            const bool exactly = !box || (classes == 2 && form == Form::box);
            const double extra = form == Form::sum_of_steps ? 2e-4 : 0;
            if (exactly) {
              EXPECT_LE(found, exact[i] * 1.0201 + extra) << i;
            }
          }
        }
      }
    }
  }
}

TEST(DeepFool, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c10");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    for (const Form form : {Form::box, Form::clip_each_step, Form::sum_of_steps}) {
      const auto attack = make_deepfool({.threat = {norm, 1}, .steps = 20, .form = form});
      const AttackResult all = expect_rows_stand_alone(*attack, model, net);
      EXPECT_TRUE(all.fooled.equal(all.nearest <= 1));
    }
  }
}

TEST(DeepFool, NamesAndRefusals) {
  EXPECT_EQ(make_deepfool({})->name(), "deepfool");
  EXPECT_EQ(make_deepfool({.steps = 10})->recipe(),
            "DeepFool, linf, what counts is within 0.0313725 (8/255), at most 10 steps, overshoot "
            "0.02, steps inside the box");
  EXPECT_EQ(message_of([] {
              make_deepfool({.threat = {Norm::l1, 1}});
            }),
            "DeepFool attacks in linf and l2, not in l1");
  EXPECT_NE(message_of([] { make_deepfool({.steps = 0}); }), "");
}

}  // namespace
}  // namespace cmat::attack
