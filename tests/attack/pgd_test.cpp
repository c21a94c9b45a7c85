#include "cmat/attack/as_published.h"
#include "cmat/attack/pgd.h"

#include "attack_helpers.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

const std::vector<std::string> golden_nets = {"tiny_c2", "tiny_c5", "tiny_c10", "tinybn_c5"};

/// The rows to compare: the others hang on rounding.
at::Tensor stable(const nlohmann::json& run, const at::Tensor& values, std::int64_t dim = 0) {
  const at::Tensor rows = golden_tensor(run.at("stable_rows")).nonzero().squeeze(1);
  return values.index_select(dim, rows);
}

/// Calls body(net, run, start) for the run of that name of every file that has it.
template <typename Body>
void for_each_run(const std::string& name, const char* start_key, const Body& body) {
  int runs = 0;
  for (const std::string& net_name : golden_nets) {
    const nlohmann::json file = golden("first_order_" + net_name + ".json");
    if (!file.at("runs").contains(name)) continue;
    SCOPED_TRACE(net_name + " " + name);
    const GoldenNet net = golden_net(file.at("net"));
    at::Tensor start = net.x;
    if (start_key) start = (net.x + golden_tensor(file.at(start_key))).clamp(0, 1);
    body(net, file.at("runs").at(name), start);
    ++runs;
  }
  EXPECT_GT(runs, 0) << name;
}

void expect_run(const nlohmann::json& run, const at::Tensor& x, double tolerance) {
  EXPECT_LE(max_difference(stable(run, x), stable(run, golden_tensor(run.at("x_adv")))), tolerance);
}

void expect_losses(const nlohmann::json& run, const at::Tensor& losses, double tolerance) {
  const at::Tensor expected = golden_tensor(run.at("loss"));
  EXPECT_LE(max_difference(stable(run, losses, 1), stable(run, expected, 1)), tolerance);
}

void expect_result(const nlohmann::json& run, const AttackResult& result, Norm norm) {
  EXPECT_TRUE(stable(run, result.predictions).equal(stable(run, golden_tensor(run.at("pred")))));
  const char* key = norm == Norm::linf ? "norm_linf" : "norm_l2";
  EXPECT_LE(max_difference(stable(run, result.distance), stable(run, golden_tensor(run.at(key)))),
            5e-9);
}

TEST(PgdGolden, Fgsm) {
  for_each_run("fgsm", nullptr, [](const GoldenNet& net, const auto& run, const at::Tensor&) {
    NetworkClassifier model(*net.network);
    const auto attack = make_fgsm({Norm::linf, run.at("eps")});
    const AttackResult result = attack->run(model, net.x, net.y, ids(6), {});
    expect_run(run, result.adversarial, 1e-9);
    expect_result(run, result, Norm::linf);
  });
}

TEST(PgdGolden, Bim) {
  for_each_run("bim", nullptr, [](const GoldenNet& net, const auto& run, const at::Tensor&) {
    NetworkClassifier model(*net.network);
    const auto attack = make_pgd({.threat = {Norm::linf, run.at("eps")},
                                  .steps = run.at("steps"),
                                  .step_pixels = run.at("alpha"),
                                  .random_start = false});
    const AttackResult result = attack->run(model, net.x, net.y, ids(6), {});
    expect_run(run, result.adversarial, 1e-9);
    expect_result(run, result, Norm::linf);
  });
}

void expect_iteration(const char* name, const char* start_key, Norm norm, double tolerance) {
  for_each_run(name, start_key,
               [&](const GoldenNet& net, const auto& run, const at::Tensor& start) {
                 NetworkClassifier model(*net.network);
                 const PgdOptions options = {.threat = {norm, run.at("eps")},
                                             .steps = run.at("steps"),
                                             .step_pixels = run.at("alpha")};
                 at::Tensor losses;
                 const at::Tensor x = pgd_iterate(model, net.x, start, net.y, options, &losses);
                 expect_run(run, x, tolerance);
                 expect_losses(run, losses, tolerance);
                 expect_result(run, finish(model, net.x, net.y, x, options.threat), norm);
                 EXPECT_TRUE(pgd_iterate(model, net.x, start, net.y, options).equal(x));
               });
}

TEST(PgdGolden, Linf) { expect_iteration("pgd_linf", "init_delta_linf", Norm::linf, 1e-9); }
TEST(PgdGolden, L2) { expect_iteration("pgd_l2", "init_delta_l2", Norm::l2, 5e-9); }

TEST(PgdGolden, Momentum) {
  for (const char* name : {"mim", "mim_decay_0.5"}) {
    for_each_run(name, nullptr, [](const GoldenNet& net, const auto& run, const at::Tensor& start) {
      NetworkClassifier model(*net.network);
      const PgdOptions options = {.threat = {Norm::linf, run.at("eps")},
                                  .steps = run.at("steps"),
                                  .step_pixels = run.at("alpha"),
                                  .random_start = false,
                                  .decay = run.at("decay")};
      at::Tensor losses;
      const at::Tensor x = pgd_iterate(model, net.x, start, net.y, options, &losses);
      expect_run(run, x, 1e-9);
      expect_losses(run, losses, 1e-9);
      const AttackResult result = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
      EXPECT_TRUE(result.adversarial.equal(x));
      expect_result(run, result, Norm::linf);
    });
  }
}

TEST(Pgd, MomentumSurvivesZeroGradients) {
  const GoldenNet net = golden_net("tiny_c5");
  for (const nn::NamedTensor& parameter : net.network->parameters())
    parameter.tensor.data().zero_();
  NetworkClassifier model(*net.network);
  const auto attack = make_pgd({.random_start = false, .decay = 1});
  EXPECT_TRUE(attack->run(model, net.x, net.y, ids(6), {}).adversarial.equal(net.x));
}

TEST(Pgd, L1ReachesTheDistanceOfLinearModels) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    LinearCase c = linear_case(2, /*box=*/false, seed);
    for (std::int64_t i = 0; i < 5; ++i) {
      const at::Tensor image = c.x.narrow(0, i, 1), label = c.y.narrow(0, i, 1);
      const at::Tensor slopes = (c.model.weights()[0] - c.model.weights()[1]).abs();
      // The cheapest way is along the steepest value, while the box has room for it.
      const double distance =
          (margin(c.model.logits(image), label).abs() / slopes.max()).item<double>();
      if (distance > 0.4) continue;
      const auto fooled_at = [&](double eps) {
        return make_pgd({.threat = {Norm::l1, eps},
                         .steps = 100,
                         .step_pixels = eps / 10,
                         .l1_share = 0.01,  // one value
                         .keep = PgdOptions::Keep::best})
            ->run(c.model, image, label, {i}, {})
            .fooled.item<bool>();
      };
      EXPECT_FALSE(fooled_at(distance * 0.999));
      EXPECT_TRUE(fooled_at(distance * 1.1)) << seed << " " << i;
    }
  }
}

/// The attack once more, image by image and pixel by pixel, as one would explain it.
at::Tensor slow_pgd(Classifier& model, const at::Tensor& image, const at::Tensor& start,
                    const at::Tensor& label, const PgdOptions& options) {
  const double eps = options.threat.eps_pixels, step = options.step_pixels;
  const std::int64_t pixels = image.numel();
  const double* x0 = image.const_data_ptr<double>();
  at::Tensor current = start.contiguous().clone();
  for (int k = 0; k < options.steps; ++k) {
    const at::Tensor gradient =
        model.gradient(current, [&](auto& z) { return cross_entropy(z, label); }).dx.contiguous();
    const double* g = gradient.const_data_ptr<double>();
    double* x = current.mutable_data_ptr<double>();
    double norm = 0, length = 0;
    for (std::int64_t i = 0; i < pixels; ++i) norm += g[i] * g[i];
    for (std::int64_t i = 0; i < pixels; ++i) {
      const double sign = g[i] > 0 ? 1 : g[i] < 0 ? -1 : 0;
      const bool linf = options.threat.norm == Norm::linf;
      x[i] += step * (linf ? sign : g[i] / (std::sqrt(norm) + 1e-10));
      length += (x[i] - x0[i]) * (x[i] - x0[i]);
    }
    for (std::int64_t i = 0; i < pixels; ++i) {
      double delta = x[i] - x0[i];
      if (options.threat.norm == Norm::linf) delta = std::clamp(delta, -eps, eps);
      if (options.threat.norm == Norm::l2) delta *= std::min(1.0, eps / std::sqrt(length));
      x[i] = std::clamp(x0[i] + delta, 0.0, 1.0);
    }
  }
  return current;
}

TEST(Pgd, TheBatchedAttackIsTheSlowOneImageByImage) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    const PgdOptions options = {.threat = {norm, norm == Norm::linf ? 0.05 : 0.7},
                                .steps = 7,
                                .step_pixels = norm == Norm::linf ? 0.02 : 0.2};
    const Key key = {.seed = 3};
    const AttackResult result = make_pgd(options)->run(model, net.x, net.y, ids(6), key);
    const at::Tensor start = random_start(net.x, ids(6), options.threat, key);
    for (std::int64_t i = 0; i < 6; ++i) {
      const at::Tensor expected = slow_pgd(model, net.x.narrow(0, i, 1), start.narrow(0, i, 1),
                                           net.y.narrow(0, i, 1), options);
      EXPECT_LE(max_difference(result.adversarial.narrow(0, i, 1), expected), 1e-12) << i;
    }
  }
}

TEST(Pgd, AnImagesResultDoesNotDependOnItsBatch) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    const auto attack = make_pgd({.threat = {norm, 0.05},
                                  .steps = 5,
                                  .step_pixels = 0.02,
                                  .restarts = 3,
                                  .keep = PgdOptions::Keep::best});
    const AttackResult all = attack->run(model, net.x, net.y, {0, 1, 2, 3, 4, 5}, {.seed = 9});
    const at::Tensor order = at::tensor({4, 1, 3}, at::kLong);
    const AttackResult some = attack->run(model, net.x.index_select(0, order),
                                          net.y.index_select(0, order), {4, 1, 3}, {.seed = 9});
    EXPECT_LE(max_difference(some.adversarial, all.adversarial.index_select(0, order)), 1e-12);
    EXPECT_TRUE(some.fooled.equal(all.fooled.index_select(0, order)));
  }
}

TEST(Pgd, TheBestIterateIsNeverWorseThanTheLast) {
  for (const std::string& name : golden_nets) {
    const GoldenNet net = golden_net(name);
    NetworkClassifier model(*net.network);
    for (const double eps : {0.005, 0.02, 0.1}) {
      // Steps far too long, so that the last iterate is often not the best.
      PgdOptions options = {.threat = {Norm::linf, eps}, .steps = 6, .step_pixels = 2 * eps};
      const AttackResult last = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
      options.keep = PgdOptions::Keep::best;
      const AttackResult best = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
      options.restarts = 4;
      const AttackResult more = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
      const auto loss = [&](const AttackResult& r) {
        return cross_entropy(model.logits(r.adversarial), net.y);
      };
      // Fooled stays fooled, and where nothing fools the loss does not fall.
      EXPECT_FALSE((last.fooled & best.fooled.logical_not()).any().item<bool>());
      EXPECT_FALSE((best.fooled & more.fooled.logical_not()).any().item<bool>());
      EXPECT_TRUE(best.fooled.logical_or(loss(best) >= loss(last)).all().item<bool>());
      EXPECT_TRUE(more.fooled.logical_or(loss(more) >= loss(best)).all().item<bool>());
    }
  }
}

TEST(Pgd, RestartsLeaveFooledImagesAlone) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  PgdOptions options = {.threat = {Norm::linf, 0.02},
                        .steps = 3,
                        .step_pixels = 0.01,
                        .keep = PgdOptions::Keep::best};
  const AttackResult once = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
  ASSERT_TRUE(once.fooled.any().item<bool>());
  options.restarts = 3;
  const AttackResult thrice = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
  const at::Tensor rows = once.fooled.nonzero().squeeze(1);
  EXPECT_TRUE(
      thrice.adversarial.index_select(0, rows).equal(once.adversarial.index_select(0, rows)));
}

TEST(Pgd, CountsWhatTheNetworkSaw) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  PgdOptions options = {.threat = {Norm::linf, 0.001}, .steps = 4, .step_pixels = 0.0005};
  AttackResult result = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
  EXPECT_EQ(result.forwards, 6 * (4 + 1));
  EXPECT_EQ(result.backwards, 6 * 4);
  options.keep = PgdOptions::Keep::best;
  options.restarts = 2;
  result = make_pgd(options)->run(model, net.x, net.y, ids(6), {});
  EXPECT_FALSE(result.fooled.all().item<bool>());
  EXPECT_EQ(result.forwards, 6 * (2 * 5 + 1));
  EXPECT_EQ(result.backwards, 6 * 2 * 4);
  // Every image is wrong from the start: one look is enough.
  result = make_pgd(options)->run(model, net.x, (result.predictions + 1) % 5, ids(6), {});
  EXPECT_EQ(result.forwards, 6 * 2);
  EXPECT_EQ(model.forwards(), 6 * (5 + 11 + 2));
}

TEST(Pgd, RadiusZeroReturnsTheImages) {
  const GoldenNet net = golden_net("tinybn_c5");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    for (const auto keep : {PgdOptions::Keep::last, PgdOptions::Keep::best}) {
      const auto attack =
          make_pgd({.threat = {norm, 0}, .steps = 3, .step_pixels = 0.1, .keep = keep});
      const AttackResult result = attack->run(model, net.x, net.y, ids(6), {});
      EXPECT_TRUE(result.adversarial.equal(net.x));
      EXPECT_TRUE(result.fooled.equal(model.logits(net.x).argmax(1).ne(net.y)));
      EXPECT_TRUE(result.distance.eq(0).all().item<bool>());
    }
  }
}

TEST(Pgd, ZeroGradientsDoNotMoveThePixel) {
  const GoldenNet net = golden_net("tiny_c5");
  for (const nn::NamedTensor& parameter : net.network->parameters())
    parameter.tensor.data().zero_();
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    const AttackResult result = make_fgsm({norm, 0.1})->run(model, net.x, net.y, ids(6), {});
    EXPECT_TRUE(result.adversarial.equal(net.x));
  }
}

TEST(Pgd, Float32OnARealNetworkStaysInBallAndBox) {
  const nn::Description description = nn::describe({.architecture = "resnet8", .classes = 5});
  const auto network = nn::build_network(description, at::kFloat, at::kCPU);
  nn::initialize(*network, description, 1, 1);
  NetworkClassifier model(*network);
  const at::Tensor images = at::rand({8, 3, 32, 32}).round_(/*decimals=*/1);
  const at::Tensor labels = model.logits(images).argmax(1);
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    for (const double eps : {1e-5, 8.0 / 255, 1.0}) {
      const auto attack = make_pgd({.threat = {norm, eps},
                                    .steps = 5,
                                    .step_pixels = default_step_pixels(eps, 5),
                                    .keep = PgdOptions::Keep::best});
      // finish() throws if ball or box are left.
      const AttackResult result = attack->run(model, images, labels, ids(8), {});
      EXPECT_GT(result.distance.max().item<double>(), eps / 2);
      EXPECT_TRUE(result.fooled.equal(result.predictions.ne(labels)));
    }
  }
}

TEST(PgdOptions, ComeFromTheConfig) {
  Config config = Config::parse(
      "[threat]\nnorm = \"linf\"\neps = \"4/255\"\n[attack]\nsteps = 20\nrestarts = 2\n"
      "[train.attack]\nstep = \"10/255\"\nrandom_start = false\n",
      "test");
  const ThreatModel threat = read_threat_model(config);
  EXPECT_DOUBLE_EQ(threat.eps_pixels, 4.0 / 255);
  const PgdOptions evaluation = read_pgd_options(config, "attack", threat, true, 10);
  EXPECT_EQ(evaluation.steps, 20);
  EXPECT_EQ(evaluation.restarts, 2);
  EXPECT_DOUBLE_EQ(evaluation.step_pixels, 2.5 * 4 / 255 / 20);
  EXPECT_EQ(evaluation.keep, PgdOptions::Keep::best);
  const PgdOptions training = read_pgd_options(config, "train.attack", threat, false, 7);
  EXPECT_EQ(training.steps, 7);
  EXPECT_DOUBLE_EQ(training.step_pixels, 10.0 / 255);
  EXPECT_FALSE(training.random_start);
  EXPECT_EQ(training.keep, PgdOptions::Keep::last);
  config.finish();
}

TEST(PgdOptions, NamesAndRecipes) {
  PgdOptions options = {.threat = {Norm::linf, 8.0 / 255},
                        .steps = 20,
                        .step_pixels = 2.0 / 255,
                        .restarts = 2,
                        .keep = PgdOptions::Keep::best};
  EXPECT_EQ(make_pgd(options)->name(), "pgd20x2");
  EXPECT_EQ(
      make_pgd(options)->recipe(),
      "projected gradient ascent on the cross-entropy, linf eps = 0.0313725 (8/255), 20 steps "
      "of 0.00784314 (2/255), uniform start in the ball, clamped to the box, 2 runs, keeps the "
      "first misclassified or else the worst iterate");
  EXPECT_EQ(make_fgsm(options.threat)->name(), "fgsm");
  EXPECT_EQ(make_pgd({.steps = 1})->name(), "fgsm-rs");
  EXPECT_EQ(make_pgd({.steps = 7, .random_start = false})->name(), "bim7");
  options.keep = PgdOptions::Keep::last;
  EXPECT_EQ(message_of([&] { make_pgd(options); }),
            "PGD with 2 runs must keep the best iterate, not the last one");
  EXPECT_NE(message_of([&] { make_pgd({.steps = 0}); }), "");
  EXPECT_NE(message_of([&] { make_pgd({.step_pixels = -1}); }), "");
  EXPECT_NE(message_of([&] { parse_norm("l0", "threat.norm"); }), "");
}

TEST(AsPublished, GoldenIterates) {
  const nlohmann::json file = test::golden("as_published.json");
  for (const auto& [name, run] : file.at("runs").items()) {
    SCOPED_TRACE(name);
    const auto mean = run.at("mean").get<std::vector<double>>(),
               std = run.at("std").get<std::vector<double>>();
    // The golden images go to the network as they are after normalisation; ours takes pixels.
    const test::GoldenNet net = test::golden_net(name, mean, std);
    const at::Tensor used = at::tensor(run.at("rows").get<std::vector<std::int64_t>>(), at::kLong);
    const at::Tensor x = net.x.index_select(0, used), y = net.y.index_select(0, used);
    const at::Tensor m = at::tensor(mean, at::kDouble).view({1, -1, 1, 1}),
                     d = at::tensor(std, at::kDouble).view({1, -1, 1, 1});
    const bool train = run.at("mode") == "train";
    NetworkClassifier model(*net.network, train ? NetworkClassifier::Mode::train
                                                : NetworkClassifier::Mode::eval);
    const AsPublishedOptions options{.mean = mean,
                                     .std = std,
                                     .eps_normalised = run.at("eps"),
                                     .step_normalised = run.at("a"),
                                     .steps = run.at("k")};
    const at::Tensor z = (x - m) / d;
    const at::Tensor found =
        as_published_iterate(model, z, z + test::golden_tensor(run.at("noise")), y, options);
    const at::Tensor expected = test::golden_tensor(run.at("x_adv_normalised"));
    const at::Tensor rows = test::golden_tensor(run.at("stable_rows")).nonzero().squeeze(1);
    EXPECT_LE(test::max_difference(found.index_select(0, rows), expected.index_select(0, rows)),
              1e-9);
    const at::Tensor moved = ((found - z) * d).abs();
    EXPECT_NEAR(moved.max().item<double>(), run.at("max_change_in_pixels").get<double>(), 1e-9);
    EXPECT_NEAR(moved.mean().item<double>(), run.at("mean_change_in_pixels").get<double>(), 1e-6);
  }
}

TEST(AsPublished, IsAnAttackWithARecipeThatWarns) {
  const test::GoldenNet net = test::golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const auto attack = make_as_published({.mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25}});
  const AttackResult r = attack->run(model, net.x, net.y, ids(6), {.seed = 1});
  // Everything lies between the mean and the mean plus std.
  EXPECT_GE(r.adversarial.min().item<double>(), 0.5);
  EXPECT_LE(r.adversarial.max().item<double>(), 0.75);
  EXPECT_TRUE(r.fooled.equal(r.predictions != net.y));
  EXPECT_EQ(r.backwards, 7 * 6);
  EXPECT_NE(attack->recipe().find("not comparable"), std::string::npos);
  EXPECT_NE(message_of([] { make_as_published({.mean = {0}, .std = {0}}); }), "");
}

}  // namespace
}  // namespace cmat::attack
