#include "cmat/attack/auto_attack.h"

#include "attack_helpers.h"
#include "cmat/nn/frozen/frozen_network.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::GoldenNet;
using test::max_difference;
using Version = AutoAttackOptions::Version;

const std::vector<std::pair<std::string, Version>> versions = {
    {"standard", Version::standard}, {"plus", Version::plus}, {"rand", Version::rand}};

/// A recipe with small budgets.
AutoAttackOptions quick(double eps, std::int64_t classes, Version version = Version::standard) {
  return {.threat = {Norm::linf, eps},
          .version = version,
          .classes = classes,
          .batch = 4,
          .apgd_steps = 10,
          .fab_steps = 5,
          .square_queries = 20};
}

TEST(AutoAttackGolden, RecipesAreThePublishedOnes) {
  const nlohmann::json file = golden("autoattack.json").at("versions");
  for (const auto& [name, version] : versions) {
    for (const Norm norm : {Norm::linf, Norm::l2}) {
      const nlohmann::json& expected = file.at(name + (norm == Norm::linf ? ".Linf" : ".L2"));
      SCOPED_TRACE(name + norm_name(norm));
      const std::string recipe =
          make_auto_attack({.threat = {norm, 0.1}, .version = version, .classes = 10})->recipe();
      // Each attack by its name in order, and its numbers in its part of the text.
      std::size_t from = 0;
      for (const std::string attack : expected.at("attacks")) {
        const std::size_t at = recipe.find("; " + attack, from);
        ASSERT_NE(at, std::string::npos) << attack << " in " << recipe;
        const std::string part = recipe.substr(at + 2, recipe.find("; ", at + 2) - at - 2);
        const auto expect = [&](const std::string& words) {
          EXPECT_NE(part.find(words), std::string::npos) << words << " in " << part;
        };
        const auto runs = [&](const char* key) {
          const int count = expected.at(key);
          expect(text(", ", count, count == 1 ? " run" : " runs"));
        };
        if (attack.starts_with("apgd")) {
          expect(text(", ", expected.at("apgd_iterations").get<int>(), " steps"));
          runs(attack == "apgd-t" ? "apgd_t_restarts" : "apgd_restarts");
          expect(text("rho ", expected.at("rho").get<double>()));
          if (attack == "apgd-t") {
            expect(text("at most ", expected.at("apgd_t_targets").get<int>(), " target"));
          }
          const int eot = expected.at("apgd_eot");
          if (eot > 1) expect(text("averaged over ", eot, " passes"));
        } else if (attack.starts_with("fab")) {
          expect(text(", ", expected.at("fab_iterations").get<int>(), " steps"));
          runs(attack == "fab-t" ? "fab_t_restarts" : "fab_restarts");
          expect(text("alpha_max ", expected.at("fab_alpha_max").get<double>(), ", eta ",
                      expected.at("fab_eta").get<double>(), ", beta ",
                      expected.at("fab_beta").get<double>()));
          if (attack == "fab-t") {
            expect(text("at most ", expected.at("fab_t_targets").get<int>(), " target"));
          }
        } else {
          expect(text(", ", expected.at("square_queries").get<int>(), " queries"));
          runs("square_restarts");
          expect(text("first windows ", expected.at("square_p_init").get<double>()));
          expect(expected.at("square_rescaled") ? ", rescaled" : "not rescaled");
        }
        from = at + 1;
      }
      EXPECT_EQ(recipe.find("; ", from + 1), std::string::npos) << "nothing else runs";
    }
  }
}

TEST(AutoAttackGolden, TargetsByClasses) {
  const nlohmann::json entries =
      golden("autoattack.json").at("targets_by_classes");  // outlives the loop
  for (const auto& [classes, entry] : entries.items()) {
    const auto attack = make_auto_attack({.classes = std::stoi(classes)});
    EXPECT_EQ(attack->name(),
              text("AA-standard[C=", classes, ",t=", entry.at("min_9").get<int>(), "]"));
  }
}

TEST(AutoAttack, EveryNumberOfClassesAndVersion) {
  for (const char* name : {"tiny_c2", "tiny_c5", "tiny_c10"}) {
    const GoldenNet net = golden_net(name);
    NetworkClassifier model(*net.network);
    const std::int64_t classes = model.logits(net.x).size(1);
    for (const auto& [version_name, version] : versions) {
      SCOPED_TRACE(name + version_name);
      AutoAttackOptions options = quick(0.004, classes, version);
      const AttackResult result =
          make_auto_attack(options)->run(model, net.x, net.y, ids(6), {.seed = 2});
      const at::Tensor wrong = model.logits(net.x).argmax(1) != net.y;
      // Worst case: whatever an attack broke stays broken, and nothing else is.
      EXPECT_TRUE(result.fooled.equal(wrong.logical_or(result.broken_by >= 0)));
      EXPECT_TRUE(marked_rows_equal(result.adversarial, net.x, result.fooled.logical_not()));
      std::int64_t left = 6 - wrong.sum().item<std::int64_t>();
      for (std::size_t i = 0; i < result.parts.size(); ++i) {
        const AttackPart& part = result.parts[i];
        EXPECT_EQ(part.attacked, left);
        EXPECT_EQ(part.broken,
                  (result.broken_by == static_cast<std::int64_t>(i)).sum().item<std::int64_t>());
        EXPECT_EQ(part.forwards > 0, left > 0) << "broken images are not attacked again";
        left -= part.broken;
      }
      EXPECT_EQ(left, result.fooled.logical_not().sum().item<std::int64_t>());
    }
  }
}

/// Notes the sizes of the batches that pass through.
class Watched : public Classifier {
 public:
  explicit Watched(Classifier& inner, bool independent = false)
      : inner_(inner), independent_(independent) {}
  bool rows_are_independent(const at::Tensor&) const override { return independent_; }
  std::vector<std::int64_t> sizes, verdict_sizes;

 protected:
  at::Tensor do_logits(const at::Tensor& x) override {
    sizes.push_back(x.size(0));
    return inner_.logits(x);
  }
  Gradient do_gradient(const at::Tensor& x, const LossFunction& loss) override {
    sizes.push_back(x.size(0));
    return inner_.gradient(x, loss);
  }
  at::Tensor do_jacobian(const at::Tensor& x) override {
    sizes.push_back(x.size(0));
    return inner_.jacobian(x);
  }
  at::Tensor do_verdict_logits(const at::Tensor& x) override {
    verdict_sizes.push_back(x.size(0));
    return inner_.verdict_logits(x);
  }
  at::Tensor do_features(const at::Tensor& x) override { return inner_.features(x); }

 private:
  Classifier& inner_;
  bool independent_;
};

TEST(AutoAttack, TheNetworkSeesOneBatchSize) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier network(*net.network);
  for (const auto& [name, version] : versions) {
    Watched model(network);
    make_auto_attack(quick(0.004, 5, version))->run(model, net.x, net.y, ids(6), {});
    EXPECT_GT(model.sizes.size(), 20U);
    for (std::int64_t size : model.sizes) EXPECT_EQ(size, 4);
    for (std::int64_t size : model.verdict_sizes) EXPECT_EQ(size, 4);
  }
}

/// The frozen network's rows are independent, so that the last batch holds what is left and no
/// more; the verdicts, which are libtorch's, see one size still.
TEST(AutoAttack, FillsNoBatchesWhereRowsAreIndependent) {
  const nn::Description description =
      nn::describe({.architecture = "resnet8", .width = 0.5, .classes = 5});
  const auto network = nn::build_network(description, at::kFloat, at::kCPU);
  nn::initialize(*network, description, 3, 1);
  network->set_training(false);
  at::manual_seed(2);
  const at::Tensor x = at::rand({6, 3, 32, 32});
  const auto model = make_classifier(*network);
  if (!nn::frozen::is_supported()) GTEST_SKIP() << "no vector instructions here";
  ASSERT_TRUE(model->rows_are_independent(x));
  const at::Tensor y = model->logits(x).argmax(1);
  EXPECT_FALSE(model->rows_are_independent(x.to(at::kDouble)));
  for (const auto& [name, version] : versions) {
    SCOPED_TRACE(name);
    Watched filled(*model), free(*model, /*independent=*/true);
    const auto attack = make_auto_attack(quick(0.002, 5, version));
    const AttackResult expected = attack->run(filled, x, y, ids(6), {.seed = 1});
    const AttackResult result = attack->run(free, x, y, ids(6), {.seed = 1});
    EXPECT_TRUE(result.adversarial.equal(expected.adversarial));
    EXPECT_TRUE(result.broken_by.equal(expected.broken_by));
    EXPECT_LT(result.forwards, expected.forwards);
    EXPECT_EQ(*std::min_element(filled.sizes.begin(), filled.sizes.end()), 4);
    EXPECT_LT(*std::min_element(free.sizes.begin(), free.sizes.end()), 4);
    for (std::int64_t size : free.verdict_sizes) EXPECT_EQ(size, 4);
  }
}

TEST(AutoAttack, NeitherOrderNorBatchSizeMatters) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  const at::Tensor order = at::tensor({4, 0, 3, 1}, at::kLong);
  AutoAttackOptions options = quick(0.004, 5, Version::plus);
  const AttackResult all = make_auto_attack(options)->run(model, net.x, net.y, ids(6), {.seed = 1});
  for (const std::int64_t batch : {1, 3, 100}) {
    options.batch = batch;
    const AttackResult some =
        make_auto_attack(options)->run(model, net.x.index_select(0, order),
                                       net.y.index_select(0, order), to_ids(order), {.seed = 1});
    EXPECT_TRUE(some.broken_by.equal(all.broken_by.index_select(0, order)));
    EXPECT_LE(max_difference(some.adversarial, all.adversarial.index_select(0, order)), 1e-9);
  }
}

TEST(AutoAttack, ReachesTheExactDistanceOfLinearModels) {
  for (const std::int64_t classes : {2, 3, 4, 5, 6}) {
    for (const bool box : {false, true}) {
      for (const Norm norm : {Norm::linf, Norm::l2}) {
        LinearCase c = linear_case(classes, box, 6);
        const std::vector<double> exact = c.model.exact_distances(c.x, c.y, norm);
        for (const double factor : {0.999, 1.01}) {
          for (std::int64_t i = 0; i < 3; ++i) {
            const double distance = exact[static_cast<std::size_t>(i)];
            if (!std::isfinite(distance)) continue;
            AutoAttackOptions options = {.threat = {norm, distance * factor}, .classes = classes};
            options.square_queries = 10;
            const AttackResult result = make_auto_attack(options)->run(
                c.model, c.x.narrow(0, i, 1), c.y.narrow(0, i, 1), {i}, {});
            EXPECT_EQ(result.fooled.item<bool>(), factor > 1)
                << text(classes, " classes, box ", box, " ", norm_name(norm), " ", i);
          }
        }
      }
    }
  }
}

TEST(AutoAttack, NamesAndRefusals) {
  EXPECT_EQ(make_auto_attack({.classes = 100})->name(), "AA-standard[C=100,t=9]");
  EXPECT_EQ(make_auto_attack({.version = Version::plus, .classes = 2})->name(), "AA-plus[C=2,t=1]");
  EXPECT_EQ(make_auto_attack(quick(0.1, 5, Version::rand))->name(),
            "AA-rand[C=5,t=4,apgd=10,fab=5,square=20]");
  EXPECT_EQ(message_of([] { make_auto_attack({.classes = 1}); }),
            "AutoAttack needs a network of at least 2 classes, not 1");
  EXPECT_EQ(message_of([] {
              make_auto_attack({.threat = {Norm::l1, 1}, .classes = 5});
            }),
            "AutoAttack attacks in linf and l2, not in l1");
  const GoldenNet net = golden_net("tiny_c2");
  NetworkClassifier model(*net.network);
  EXPECT_EQ(
      message_of([&] { make_auto_attack(quick(0.1, 5))->run(model, net.x, net.y, ids(6), {}); }),
      "AutoAttack was set up for 5 classes, but the network has 2");
}

}  // namespace
}  // namespace cmat::attack
