// Training objectives on the golden networks in float64: what the weight step sees, and what the
// attack before it leaves behind.
#include "cmat/defense/objective.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "central_difference.h"
#include "cmat/attack/as_published.h"
#include "core/expect_error.h"
#include "defense/defense_helpers.h"
#include "golden_tensor.h"

namespace cmat::defense {
namespace {

using test::golden_net;
using test::GoldenNet;
using test::max_difference;

double plain_loss(nn::Network& network, const at::Tensor& x, const at::Tensor& y) {
  const at::NoGradGuard no_grad;
  return at::cross_entropy_loss(network.forward(x), y).item<double>();
}

TEST(Standard, IsCrossEntropy) {
  GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
  const auto objective = make("name = \"standard\"\n");
  const StepLoss step = objective->step(*net.network, batch_of(net), {});
  EXPECT_TRUE(net.network->is_training());
  other.network->set_training(true);
  EXPECT_NEAR(step.loss.item<double>(), plain_loss(*other.network, net.x, net.y), 1e-12);
  EXPECT_EQ(step.logits.sizes().vec(), (std::vector<std::int64_t>{6, 5}));
  EXPECT_FALSE(step.logits.requires_grad());
  EXPECT_EQ(step.forwards, 6);
  EXPECT_EQ(step.backwards, 6);
  EXPECT_EQ(objective->validation_attack(), nullptr);
  EXPECT_EQ(objective->passes().attack, 0);
}

struct Setting {
  attack::Norm norm;
  double eps;
  const char* toml;
};

class PgdAt : public testing::TestWithParam<Setting> {
 protected:
  std::unique_ptr<Objective> objective() const { return make(GetParam().toml, threat()); }
  attack::ThreatModel threat() const { return {GetParam().norm, GetParam().eps}; }
};

TEST_P(PgdAt, StaysInBallAndBox) {
  GoldenNet net = golden_net("tinybn_c5");
  Spy spy(*net.network);
  const StepLoss step = objective()->step(spy, batch_of(net), {.seed = 1});
  ASSERT_EQ(spy.seen.size(), 1U);
  const at::Tensor moved = (spy.seen[0] - net.x).flatten(1);
  const at::Tensor length = GetParam().norm == attack::Norm::linf ? std::get<0>(moved.abs().max(1))
                                                                  : moved.square().sum(1).sqrt();
  EXPECT_LE(length.max().item<double>(), GetParam().eps * (1 + 1e-9));
  EXPECT_GT(length.min().item<double>(), GetParam().eps * 0.3);
  EXPECT_GE(spy.seen[0].min().item<double>(), 0);
  EXPECT_LE(spy.seen[0].max().item<double>(), 1);
  EXPECT_EQ(step.forwards, 6 * 4);
  EXPECT_EQ(step.backwards, 6 * 4);
}

TEST_P(PgdAt, TheAttackLeavesNothingBehind) {
  GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
  const std::vector<at::Tensor> buffers = Spy::copies(net.network->buffers());
  const std::vector<at::Tensor> weights = Spy::copies(net.network->parameters());
  Spy spy(*net.network);
  const StepLoss step = objective()->step(spy, batch_of(net), {.seed = 1});
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_TRUE(spy.buffers_before[i].equal(buffers[i])) << net.network->buffers()[i].name;
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor parameter = net.network->parameters()[i].tensor;
    EXPECT_TRUE(parameter.equal(weights[i]));
    EXPECT_TRUE(parameter.requires_grad());
    EXPECT_FALSE(parameter.grad().defined());
  }
  EXPECT_TRUE(net.network->is_training());
  // What it does leave is that of one pass in train mode on x'.
  other.network->set_training(true);
  EXPECT_NEAR(step.loss.item<double>(), plain_loss(*other.network, spy.seen[0], net.y), 1e-12);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_LE(max_difference(net.network->buffers()[i].tensor, other.network->buffers()[i].tensor),
              1e-12);
  }
}

TEST_P(PgdAt, DrawsByKeyAndImage) {
  const auto loss_of = [&](const std::vector<std::int64_t>& order, const Key& key,
                           at::Tensor& seen) {
    GoldenNet net = golden_net("tinybn_c5");
    Spy spy(*net.network);
    const at::Tensor rows = at::tensor(order, at::kLong);
    Batch batch{net.x.index_select(0, rows), net.y.index_select(0, rows), {}};
    for (std::int64_t i : order) batch.sample_ids.push_back(100 + i);
    const double loss = objective()->step(spy, batch, key).loss.item<double>();
    seen = at::empty_like(spy.seen[0]).index_copy_(0, rows, spy.seen[0]);
    return loss;
  };
  at::Tensor first, again, turned, other;
  const double loss = loss_of({0, 1, 2, 3, 4, 5}, {.seed = 1}, first);
  EXPECT_EQ(loss_of({0, 1, 2, 3, 4, 5}, {.seed = 1}, again), loss);
  EXPECT_TRUE(first.equal(again));
  // The order may change the rounding of a sum over the batch, and of nothing else.
  EXPECT_NEAR(loss_of({3, 5, 0, 4, 2, 1}, {.seed = 1}, turned), loss, 1e-10);
  EXPECT_LE(max_difference(turned, first), 1e-9);
  loss_of({0, 1, 2, 3, 4, 5}, {.seed = 2}, other);
  const bool random =
      std::string(GetParam().toml).find("random_start = false") == std::string::npos;
  EXPECT_EQ(max_difference(other, first) > 1e-6, random);
}

/// By Danskin's theorem x' is a constant of the weight step.
TEST_P(PgdAt, GradientEqualsFiniteDifferences) {
  GoldenNet net = golden_net("tinybn_c5");
  Spy spy(*net.network);
  const StepLoss step = objective()->step(spy, batch_of(net), {.seed = 1});
  const std::vector<at::Tensor> gradients = all_gradients(step.loss, *net.network);
  const std::vector<nn::NamedTensor> parameters = net.network->parameters();
  const at::NoGradGuard no_grad;
  const auto loss = [&] { return plain_loss(*net.network, spy.seen[0], net.y); };
  for (std::size_t n = 0; n < parameters.size(); ++n) {
    const at::Tensor weight = parameters[n].tensor.detach().view(-1);
    for (std::int64_t i = 0; i < weight.numel(); i += 1 + weight.numel() / 7) {
      EXPECT_NEAR(gradients[n].reshape(-1)[i].item<double>(),
                  test::central_difference(weight[i], loss), 1e-6)
          << parameters[n].name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Objective, PgdAt,
    testing::Values(Setting{attack::Norm::linf, 0.05, "steps = 3\n"},
                    Setting{attack::Norm::linf, 0.05, "steps = 3\nrandom_start = false\n"},
                    Setting{attack::Norm::linf, 0.05, "steps = 3\nattack_mode = \"train\"\n"},
                    Setting{attack::Norm::l2, 0.7, "steps = 3\nstep = \"0.4\"\n"}));

TEST(PgdAtObjective, RaisesTheLoss) {
  GoldenNet net = golden_net("tinybn_c5"), clean = golden_net("tinybn_c5");
  const double loss =
      make("steps = 10\n")->step(*net.network, batch_of(net), {}).loss.item<double>();
  EXPECT_GT(
      loss,
      make("name = \"standard\"\n")->step(*clean.network, batch_of(clean), {}).loss.item<double>());
}

TEST(PgdAtObjective, RadiusGrowsDuringTheWarmUp) {
  const auto objective = make("steps = 2\neps_warmup = 0.5\n", {attack::Norm::linf, 0.1});
  for (const auto& [share, radius] :
       std::vector<std::pair<double, double>>{{0, 0}, {0.25, 0.05}, {0.5, 0.1}, {0.9, 0.1}}) {
    GoldenNet net = golden_net("tiny_c5");
    Spy spy(*net.network);
    objective->set_progress(share);
    objective->step(spy, batch_of(net), {.seed = 3});
    EXPECT_NEAR(max_difference(spy.seen[0], net.x), radius, 1e-9 + 0.1 * radius) << share;
  }
  objective->set_progress(0);
  EXPECT_EQ(objective->validation_attack()->recipe(),
            make("steps = 2\n", {attack::Norm::linf, 0.1})->validation_attack()->recipe());
}

/// The network steps along these gradients.
void descend(nn::Network& network, const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  const std::vector<nn::NamedTensor> parameters = network.parameters();
  for (std::size_t i = 0; i < gradients.size(); ++i)
    parameters[i].tensor.detach().sub_(gradients[i], 0.1);
}

TEST(AsPublishedTraining, TrainsOnWhatTheAttackMakes) {
  const std::vector<double> mean = {0.5, 0.4, 0.45}, std = {0.25, 0.2, 0.3};
  const attack::ThreatModel threat = {attack::Norm::linf, 2.0 / 255, /*as_published=*/true};
  for (const std::string mode : {"eval", "train"}) {
    SCOPED_TRACE(mode);
    GoldenNet net = golden_net("tinybn_c5", mean, std), other = golden_net("tinybn_c5", mean, std);
    Spy spy(*net.network);
    const auto objective = make("steps = 7\nattack_mode = \"" + mode + "\"\n", threat);
    for (std::uint64_t k = 0; k < 2; ++k) {
      const Key key = {.seed = 1, .step = k};
      at::Tensor expected;
      {
        attack::NetworkClassifier model(*other.network,
                                        mode == "train" ? attack::Mode::train : attack::Mode::eval);
        const auto attack = attack::make_as_published({.mean = mean, .std = std});
        expected = attack->run(model, net.x, net.y, batch_of(net).sample_ids, key).adversarial;
      }
      const StepLoss step = objective->step(spy, batch_of(net), key);
      ASSERT_EQ(spy.seen.size(), k + 1);
      EXPECT_TRUE(spy.seen[k].equal(expected)) << k;
      EXPECT_EQ(step.backwards, 6 * 8);
      // Clamped in units of z, so everything lies between the mean and the mean plus std.
      EXPECT_GT(max_difference(expected, net.x), 0.1);
      descend(*net.network, all_gradients(step.loss, *net.network));
      other.network->set_training(true);
      const at::Tensor loss = at::cross_entropy_loss(other.network->forward(expected), net.y);
      descend(*other.network, all_gradients(loss, *other.network));
    }
    const auto validation = objective->validation_attack();
    EXPECT_EQ(validation->name(), "as-published");
    attack::NetworkClassifier model(*net.network);
    EXPECT_TRUE(validation->run(model, net.x, net.y, batch_of(net).sample_ids, {})
                    .adversarial.equal(attack::make_as_published({.mean = mean, .std = std})
                                           ->run(model, net.x, net.y, batch_of(net).sample_ids, {})
                                           .adversarial));
  }
}

TEST(AsPublishedTraining, OtherObjectivesRefuseIt) {
  const attack::ThreatModel threat = {attack::Norm::linf, 2.0 / 255, /*as_published=*/true};
  for (const std::string& name : objective_names()) {
    if (name == "pgd-at") continue;
    test::expect_usage_error(
        {"\"" + name + "\"", "as-published", "use objective.name = \"pgd-at\""},
        [&] { make("name = \"" + name + "\"\n", threat); });
  }
  test::expect_usage_error({"objective.eps_warmup"}, [&] { make("eps_warmup = 0.5\n", threat); });
  Config config = Config::parse("[threat]\nmodel = \"as-published\"\n", "test");
  const attack::ThreatModel read = attack::read_threat_model(config);
  EXPECT_TRUE(read.as_published);
  EXPECT_EQ(read.eps_pixels, 2.0 / 255);
  EXPECT_EQ(attack::threat_name(read), "as-published");
  test::expect_usage_error({"threat.model = \"as-published\"", "2/255", "(8/255)"}, [] {
    Config other = Config::parse("[threat]\nmodel = \"as-published\"\neps = \"8/255\"\n", "test");
    attack::read_threat_model(other);
  });
  test::expect_usage_error({"threat.model = \"as-published\"", "threat.norm"}, [] {
    Config l2 = Config::parse("[threat]\nmodel = \"as-published\"\nnorm = \"l2\"\n", "test");
    attack::read_threat_model(l2);
  });
}

TEST(ObjectiveConfig, WrongValuesAreRefused) {
  test::expect_usage_error({"objective.name", "trade"}, [] { make("name = \"trade\"\n"); });
  test::expect_usage_error({"objective.attack_mode"}, [] { make("attack_mode = \"both\"\n"); });
  test::expect_usage_error({"objective.steps"}, [] { make("steps = -1\n"); });
  EXPECT_EQ(make("")->name(), "pgd-at");
  EXPECT_EQ(make("")->passes().attack, 10);
}

}  // namespace
}  // namespace cmat::defense
