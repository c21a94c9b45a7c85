#include "cmat/attack/jsma.h"

#include "attack_helpers.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

TEST(JsmaGolden, BestPairs) {
  const nlohmann::json saliency = golden("jsma.json").at("saliency");
  const GoldenNet net = golden_net(saliency.at("net"));
  NetworkClassifier model(*net.network);
  const at::Tensor expected = golden_tensor(saliency.at("jacobian_images_0_2_4"));
  const at::Tensor jacobian = model.jacobian(net.x).flatten(2);
  EXPECT_LE(max_difference(jacobian.index_select(0, at::tensor({0, 2, 4}, at::kLong)), expected),
            1e-10);
  ASSERT_FALSE(saliency.at("cases").empty());
  for (const nlohmann::json& each : saliency.at("cases")) {
    SCOPED_TRACE(each.dump());
    const auto image = each.at("image").get<std::int64_t>();
    const SaliencyPair pair =
        best_saliency_pair(jacobian[image], each.at("target"), net.x[image].flatten() < 0.99);
    EXPECT_EQ(pair.first, each.at("pair")[0].get<std::int64_t>());
    EXPECT_EQ(pair.second, each.at("pair")[1].get<std::int64_t>());
    EXPECT_NEAR(pair.score, each.at("score").get<double>(), 1e-9);
  }
}

TEST(JsmaGolden, AWholeRun) {
  const nlohmann::json run = golden("jsma.json").at("run");
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const at::Tensor target = golden_tensor(run.at("target"));
  const JsmaOptions options = {
      .threat = {Norm::l1, no_radius}, .theta = run.at("theta"), .gamma = run.at("gamma")};
  const at::Tensor x = jsma_run(model, net.x, Goal(net.y, target), target, options);
  const nlohmann::json& rows = run.at("stable_rows");
  const auto rows_of = [&](const at::Tensor& values) { return marked(rows, values, 0); };
  EXPECT_LE(max_difference(rows_of(x), rows_of(golden_tensor(run.at("x_adv")))), 1e-9);
  EXPECT_TRUE(rows_of(model.logits(x).argmax(1)).equal(rows_of(golden_tensor(run.at("pred")))));
  const at::Tensor changed = (x != net.x).flatten(1).sum(1);
  EXPECT_TRUE(rows_of(changed).equal(rows_of(golden_tensor(run.at("changed_values")))));

  // The attack returns what got there, and how far that is.
  const AttackResult result = make_jsma(options)->run_targeted(
      model, net.x, at::where(target == net.y, (net.y + 1).remainder(5), net.y), target, ids(6),
      {});
  EXPECT_TRUE(result.fooled.equal(model.logits(x).argmax(1) == target));
  const at::Tensor there = result.fooled.nonzero().squeeze(1);
  ASSERT_GT(there.size(0), 0);
  EXPECT_TRUE(result.adversarial.index_select(0, there).equal(x.index_select(0, there)));
  EXPECT_LE(max_difference(result.nearest.index_select(0, there),
                           (x - net.x).abs().flatten(1).sum(1).index_select(0, there)),
            1e-12);
}

/// The search over pairs, written as the paper has it.
TEST(Jsma, TheBestPairIsTheBestOfAllPairs) {
  at::manual_seed(3);
  for (int draw = 0; draw < 20; ++draw) {
    const at::Tensor jacobian = at::randn({4, 12}, at::kDouble);
    const at::Tensor domain = at::rand({12}) < 0.7;
    SaliencyPair best;
    for (std::int64_t p = 0; p < 12; ++p) {
      for (std::int64_t q = p + 1; q < 12; ++q) {
        if (!domain[p].item<bool>() || !domain[q].item<bool>()) continue;
        double alpha = 0, beta = 0;
        for (std::int64_t k = 0; k < 4; ++k) {
          (k == 2 ? alpha : beta) += (jacobian[k][p] + jacobian[k][q]).item<double>();
        }
        if (alpha <= 0 || beta >= 0 || -alpha * beta <= best.score) continue;
        best = {p, q, -alpha * beta};
      }
    }
    const SaliencyPair found = best_saliency_pair(jacobian, 2, domain);
    EXPECT_EQ(found.first, best.first);
    EXPECT_EQ(found.second, best.second);
    EXPECT_NEAR(found.score, best.score, 1e-12);
  }
}

TEST(Jsma, NoPairThatHelpsEndsTheSearch) {
  const at::Tensor none = at::ones({3, 5}, at::kDouble);  // raises all classes alike
  EXPECT_EQ(best_saliency_pair(none, 1, at::ones({5}, at::kBool)).first, -1);
  const at::Tensor one = at::tensor({1.0, -1.0}, at::kDouble).view({2, 1}).expand({2, 5});
  EXPECT_EQ(best_saliency_pair(one, 0, at::arange(5) == 2).first, -1);
  EXPECT_EQ(best_saliency_pair(one, 0, at::arange(5) >= 2).second, 3);

  // Pixels at 1 cannot be raised, so nothing is tried and nothing is lost.
  LinearCase c = linear_case(3, /*box=*/false, 2);
  const AttackResult result = make_jsma({})->run(c.model, at::ones_like(c.x), c.y, ids(5), {});
  EXPECT_TRUE(result.adversarial.equal(at::ones_like(c.x)));
}

TEST(Jsma, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const auto attack = make_jsma({.threat = {Norm::l1, 8}});
  const AttackResult all = expect_rows_stand_alone(*attack, model, net);
  EXPECT_TRUE(all.fooled.equal(all.nearest <= 8));
}

TEST(Jsma, NamesAndRefusals) {
  EXPECT_EQ(make_jsma({})->name(), "jsma");
  EXPECT_EQ(make_jsma({})->recipe(),
            "saliency map, l1, what counts is within 12 (3060/255), pairs of values moved by 1, at "
            "most 0.1 of all values");
  EXPECT_EQ(message_of([] {
              make_jsma({.threat = {Norm::linf, 1}});
            }),
            "the saliency map attack works in l1, not in linf");
  EXPECT_NE(message_of([] { make_jsma({.gamma = 0}); }), "");
  EXPECT_NE(message_of([] { make_jsma({.theta = 0}); }), "");
}

}  // namespace
}  // namespace cmat::attack
