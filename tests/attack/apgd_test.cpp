#include "cmat/attack/apgd.h"

#include "attack_helpers.h"
#include "cmat/attack/apgd_l1.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

ApgdOptions golden_options(const nlohmann::json& run) {
  ApgdOptions options;
  options.threat = {golden_norm(run.at("norm")), run.at("eps").get<double>()};
  const std::string loss = run.at("loss");
  if (loss == "dlr") options.loss = Loss::dlr;
  if (loss == "dlr-targeted") options.loss = Loss::dlr_targeted;
  options.steps = run.at("n_iter");
  options.rho = run.at("rho");
  // As the public program does.
  options.start_in_first_window = false;
  options.keep_step_at_equality = false;
  return options;
}

/// Linf runs start from one point, L2 runs from another, those with small radius from a third.
at::Tensor golden_start(const nlohmann::json& starts, const std::string& run_name) {
  if (run_name.find("l2_small") != std::string::npos) {
    return golden_tensor(starts.at("x_init_l2_small"));
  }
  return golden_tensor(
      starts.at(run_name.find("_l2") != std::string::npos ? "x_init_l2" : "x_init_linf"));
}

at::Tensor golden_targets(const nlohmann::json& run, const GoldenNet& net) {
  return run.contains("target") ? golden_tensor(run.at("target")) : net.y;
}

void expect_rows(const nlohmann::json& rows, const at::Tensor& actual, const nlohmann::json& array,
                 std::int64_t dim = 0) {
  EXPECT_LE(max_difference(marked(rows, actual, dim), marked(rows, golden_tensor(array), dim)),
            1e-9);
}

void expect_run(const nlohmann::json& run, const ApgdRun& actual) {
  const nlohmann::json& rows = run.at("stable_rows");
  expect_rows(rows, actual.step_sizes, run.at("step_size"), 1);
  expect_rows(rows, actual.losses, run.at("loss_of_iterates"), 1);
  expect_rows(rows, actual.best_losses, run.at("best_loss_so_far"), 1);
  expect_rows(rows, actual.best_loss, run.at("loss_best"));
  expect_rows(rows, actual.best, run.at("x_best"));
  expect_rows(rows, actual.last_fooled, run.at("x_best_adv"));
  expect_rows(rows, actual.always_correct, run.at("correct_at_all_iterates"));
}

void expect_file(const std::string& file_name, const std::string& net_name,
                 const std::string& starts_file) {
  const nlohmann::json file = golden(file_name), starts = golden(starts_file).at("starts");
  const GoldenNet net = golden_net(net_name);
  NetworkClassifier model(*net.network);
  ASSERT_FALSE(file.at("runs").empty());
  for (const auto& [name, run] : file.at("runs").items()) {
    SCOPED_TRACE(file_name + " " + name);
    ApgdOptions options = golden_options(run);
    const at::Tensor start = golden_start(starts, name), targets = golden_targets(run, net);
    expect_run(run, apgd_run(model, net.x, start, net.y, targets, options));
    if (!run.contains("variants")) continue;
    for (const auto& [variant, expected] : run.at("variants").items()) {
      SCOPED_TRACE(variant);
      options.start_in_first_window = variant != "strictly_less";
      options.keep_step_at_equality = variant != "start_loss_in_first_window";
      const ApgdRun actual = apgd_run(model, net.x, start, net.y, targets, options);
      expect_rows(expected.at("stable_rows"), actual.step_sizes, expected.at("step_size"), 1);
      expect_rows(expected.at("stable_rows"), actual.best_loss, expected.at("loss_best"));
    }
  }
}

TEST(ApgdGolden, CrossEntropyAndDlr) {
  expect_file("apgd_tiny_c5.json", "tiny_c5", "apgd_tiny_c5.json");
  expect_file("apgd_tiny_c10.json", "tiny_c10", "apgd_tiny_c10.json");
}

TEST(ApgdGolden, Targeted) {
  expect_file("apgd_targeted_tiny_c5.json", "tiny_c5", "apgd_tiny_c5.json");
  expect_file("apgd_targeted_tiny_c10.json", "tiny_c10", "apgd_tiny_c10.json");
}

TEST(ApgdGolden, FiftySteps) {
  expect_file("apgd_n50_tiny_c5.json", "tiny_c5", "apgd_tiny_c5.json");
}

TEST(ApgdGolden, Checkpoints) {
  EXPECT_EQ(apgd_checkpoints(20),
            golden("apgd_tiny_c5.json").at("checkpoints").get<std::vector<int>>());
  EXPECT_EQ(apgd_checkpoints(50),
            golden("apgd_n50_tiny_c5.json").at("checkpoints").get<std::vector<int>>());
}

/// Whether APGD fools image i of the case at this radius.
bool fooled_at(LinearCase& c, std::int64_t i, Norm norm, double eps, Loss loss) {
  const auto attack = make_apgd({.threat = {norm, eps}, .loss = loss});
  return attack->run(c.model, c.x.narrow(0, i, 1), c.y.narrow(0, i, 1), {i}, {.seed = 1})
      .fooled.item<bool>();
}

TEST(ApgdGolden, L1) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const nlohmann::json entries = golden("apgd_l1_tiny_c5.json").at("runs");  // outlives the loop
  for (const auto& [name, run] : entries.items()) {
    SCOPED_TRACE(name);
    const ApgdOptions options = {.threat = {Norm::l1, run.at("eps").get<double>()},
                                 .steps = run.at("n_iter")};
    const ApgdRun actual =
        apgd_run(model, net.x, golden_tensor(run.at("x_init")), net.y, net.y, options);
    const nlohmann::json& rows = run.at("stable_rows");
    expect_rows(rows, actual.step_sizes.narrow(0, 0, options.steps), run.at("step_size"), 1);
    expect_rows(rows, actual.shares.narrow(0, 0, options.steps), run.at("topk_share"), 1);
    expect_rows(rows, actual.losses, run.at("loss_of_iterates"), 1);
    expect_rows(rows, actual.best_loss, run.at("loss_best"));
    expect_rows(rows, actual.best, run.at("x_best"));
    expect_rows(rows, actual.last_fooled, run.at("x_best_adv"));
    expect_rows(rows, actual.always_correct, run.at("correct_at_all_iterates"));
  }
}

TEST(ApgdGolden, L1Radii) {
  const nlohmann::json file = golden("autoattack.json").at("l1_radii");
  for (const auto& [steps, expected] : file.at("iterations_by_n").items()) {
    const std::vector<RadiusPhase> phases = l1_phases(std::stoi(steps));
    ASSERT_EQ(phases.size(), expected.size());
    for (std::size_t i = 0; i < phases.size(); ++i) {
      EXPECT_EQ(phases[i].steps, expected[i]);
      EXPECT_EQ(phases[i].factor, file.at("factors")[i]);
    }
  }
  EXPECT_EQ(l1_phases(2).size(), 1U);
  EXPECT_EQ(l1_phases(3).size(), 3U);
}

TEST(Apgd, L1ComesNearTheDistanceOfLinearModels) {
  int tried = 0;
  for (const std::int64_t classes : {2, 4}) {
    LinearCase c = linear_case(classes, /*box=*/false, 8);
    for (std::int64_t i = 0; i < 5; ++i) {
      const at::Tensor z = c.model.logits(c.x.narrow(0, i, 1))[0];
      const auto label = c.y[i].item<std::int64_t>();
      // The cheapest way is along the steepest value, while the box has room for it.
      double distance = std::numeric_limits<double>::infinity();
      for (std::int64_t k = 0; k < classes; ++k) {
        if (k == label) continue;
        const at::Tensor steepest = (c.model.weights()[label] - c.model.weights()[k]).abs().max();
        distance = std::min(distance, ((z[label] - z[k]) / steepest).item<double>());
      }
      if (distance > 0.4) continue;
      ++tried;
      EXPECT_FALSE(fooled_at(c, i, Norm::l1, distance * 0.999, Loss::dlr_targeted));
      EXPECT_TRUE(fooled_at(c, i, Norm::l1, distance * 1.25, Loss::dlr_targeted)) << i;
    }
  }
  EXPECT_GT(tried, 2);
}

TEST(Apgd, ReachesTheExactDistanceOfLinearModels) {
  for (const std::int64_t classes : {2, 3, 4, 5, 6}) {
    for (const bool box : {false, true}) {
      for (const Norm norm : {Norm::linf, Norm::l2}) {
        LinearCase c = linear_case(classes, box, 1);
        const std::vector<double> exact = c.model.exact_distances(c.x, c.y, norm);
        std::vector<Loss> losses = {Loss::dlr_targeted};
        // With more classes these may climb towards a plane that is not the nearest.
        if (classes == 2) losses = {Loss::cross_entropy, Loss::dlr, Loss::dlr_targeted};
        // In L2 each step is scaled and then clamped, which is not the nearest point of both.
        const double slack = norm == Norm::l2 && box ? 1.03 : 1.003;
        for (std::int64_t i = 0; i < c.x.size(0); ++i) {
          const double distance = exact[static_cast<std::size_t>(i)];
          if (!std::isfinite(distance)) continue;
          for (const Loss loss : losses) {
            SCOPED_TRACE(text(classes, " classes, box ", box, ", ", norm_name(norm), ", ",
                              loss_name(loss), ", image ", i, " at ", distance));
            EXPECT_FALSE(fooled_at(c, i, norm, distance * 0.999, loss));
            EXPECT_TRUE(fooled_at(c, i, norm, distance * slack, loss));
          }
        }
      }
    }
  }
}

const std::vector<Loss> all_losses = {
    Loss::cross_entropy,          Loss::margin,          Loss::dlr,
    Loss::cross_entropy_targeted, Loss::margin_targeted, Loss::dlr_targeted};

TEST(Apgd, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    for (const Loss loss : all_losses) {
      const auto attack = make_apgd({.threat = {norm, norm == Norm::linf ? 0.01 : 0.1},
                                     .loss = loss,
                                     .steps = 10,
                                     .restarts = 2});
      const AttackResult all = expect_rows_stand_alone(*attack, model, net, {.seed = 9});
      const AttackResult alone =
          attack->run(model, net.x.narrow(0, 3, 1), net.y.narrow(0, 3, 1), {3}, {.seed = 9});
      EXPECT_LE(max_difference(alone.adversarial, all.adversarial.narrow(0, 3, 1)), 1e-9);
    }
  }
}

TEST(Apgd, EveryNumberOfClassesAndLoss) {
  for (const char* name : {"tiny_c2", "tiny_c5", "tiny_c10", "tinybn_c5"}) {
    const GoldenNet net = golden_net(name);
    NetworkClassifier model(*net.network);
    for (const Loss loss : all_losses) {
      const auto attack = make_apgd({.threat = {Norm::linf, 0.1}, .loss = loss, .steps = 15});
      const AttackResult result = attack->run(model, net.x, net.y, ids(6), {});
      EXPECT_GT(result.fooled.sum().item<std::int64_t>(), 3) << name << " " << loss_name(loss);
      const at::Tensor wrong = model.logits(net.x).argmax(1) != net.y;
      EXPECT_TRUE(marked_rows_equal(result.adversarial, net.x, wrong));
    }
  }
}

TEST(Apgd, MoreRestartsNeverHurt) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  for (const double eps : {0.003, 0.01, 0.03}) {
    ApgdOptions options = {.threat = {Norm::linf, eps}, .steps = 8};
    const AttackResult once = make_apgd(options)->run(model, net.x, net.y, ids(6), {});
    options.restarts = 3;
    const AttackResult thrice = make_apgd(options)->run(model, net.x, net.y, ids(6), {});
    EXPECT_TRUE(marked_rows_equal(thrice.adversarial, once.adversarial, once.fooled));
  }
}

TEST(Apgd, CountsWhatTheNetworkSaw) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  ApgdOptions options = {.threat = {Norm::linf, 1e-6}, .steps = 10, .restarts = 2};
  AttackResult result = make_apgd(options)->run(model, net.x, net.y, ids(6), {});
  EXPECT_EQ(result.forwards, 6 * (1 + 2 * 11 + 1));
  EXPECT_EQ(result.backwards, 6 * 2 * 10);
  options.loss = Loss::dlr_targeted;
  result = make_apgd(options)->run(model, net.x, net.y, ids(6), {});
  EXPECT_EQ(result.backwards, 6 * 4 * 2 * 10) << "four wrong classes";
  options.loss = Loss::cross_entropy;
  options.eot = 3;
  result = make_apgd(options)->run(model, net.x, net.y, ids(6), {});
  EXPECT_EQ(result.backwards, 6 * 2 * 11 * 3);
}

TEST(Apgd, AveragingOverPassesChangesNothingWithoutRandomness) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  ApgdOptions options = {.threat = {Norm::linf, 0.01}, .steps = 10};
  const ApgdRun one = apgd_run(model, net.x, net.x, net.y, net.y, options);
  options.eot = 2;
  const ApgdRun two = apgd_run(model, net.x, net.x, net.y, net.y, options);
  EXPECT_LE(max_difference(one.best, two.best), 1e-12);
  EXPECT_LE(max_difference(one.losses, two.losses), 1e-12);
}

TEST(Apgd, Float32StaysInBallAndBox) {
  const nn::Description description = nn::describe({.architecture = "resnet8", .classes = 5});
  const auto network = nn::build_network(description, at::kFloat, at::kCPU);
  nn::initialize(*network, description, 1, 1);
  NetworkClassifier model(*network);
  const at::Tensor images = at::rand({4, 3, 32, 32}).round_(/*decimals=*/1);
  const at::Tensor labels = model.logits(images).argmax(1);
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    for (const double eps : {0.0, 1e-4, 1.0}) {
      // finish() throws if ball or box are left.
      make_apgd({.threat = {norm, eps}, .loss = Loss::dlr, .steps = 5})
          ->run(model, images, labels, ids(4), {});
    }
  }
}

TEST(Apgd, NamesRecipesAndRefusals) {
  EXPECT_EQ(make_apgd({})->name(), "apgd-ce");
  EXPECT_EQ(make_apgd({.loss = Loss::dlr, .steps = 50, .restarts = 5})->name(), "apgd-dlr50x5");
  EXPECT_EQ(make_apgd({.loss = Loss::dlr_targeted})->name(), "apgd-t");
  EXPECT_EQ(make_apgd({.loss = Loss::dlr_targeted})->recipe(),
            "APGD on the targeted DLR (2 and 3 classes: targeted margin), linf eps = 0.0313725 "
            "(8/255), 100 steps, 1 run for each of at most 9 target classes from rank 2, start on "
            "the sphere, clamped to the box, rho 0.75, momentum 0.75, first window from the start, "
            "step halved at equality");
  EXPECT_EQ(message_of([] {
              make_apgd({.threat = {Norm::l1, 1}, .eot = 2});
            }),
            "APGD in l1 does not average gradients over passes");
  EXPECT_NE(message_of([] { make_apgd({.steps = 0}); }), "");
  EXPECT_NE(message_of([] { make_apgd({.targets = 0}); }), "");
  EXPECT_NE(message_of([] { make_apgd({.threat = {Norm::linf, -1}}); }), "");
}

}  // namespace
}  // namespace cmat::attack
