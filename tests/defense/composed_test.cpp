// What each objective's step sees, costs and remembers, on the golden networks in float64.
#include "cmat/defense/composed.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "cmat/attack/losses.h"
#include "cmat/defense/losses.h"
#include "cmat/defense/weight_perturbation.h"
#include "core/expect_error.h"
#include "defense/defense_helpers.h"

namespace cmat::defense {
namespace {

using test::golden_net;
using test::GoldenNet;
using test::max_difference;

constexpr attack::ThreatModel kLinf = {attack::Norm::linf, 0.05};

struct Price {
  const char* toml;
  Passes passes;
  int steps = 1;  ///< after how many of them the mean is exact
};

class Costs : public testing::TestWithParam<Price> {};

/// docs/objectives.md has this table.
TEST_P(Costs, AreWhatIsDocumentedAndCounted) {
  const Price& price = GetParam();
  GoldenNet net = golden_net("tinybn_c5");
  Spy spy(*net.network);
  const auto objective = make(price.toml, kLinf);
  std::int64_t forwards = 0, backwards = 0;
  for (int step = 0; step < price.steps; ++step) {
    objective->set_progress(static_cast<double>(step) / price.steps);
    const StepLoss result = objective->step(spy, batch_of(net), {.seed = 1});
    weight_gradients(result, spy);
    forwards += result.forwards;
    backwards += result.backwards;
  }
  EXPECT_EQ(forwards, spy.forwards);
  EXPECT_EQ(backwards, spy.backwards);
  const Passes passes = objective->passes();
  EXPECT_NEAR(static_cast<double>(forwards) / 6 / price.steps, passes.forwards(), 1e-12);
  EXPECT_NEAR(static_cast<double>(backwards) / 6 / price.steps, passes.backwards(), 1e-12);
  EXPECT_NEAR(passes.attack, price.passes.attack, 1e-12);
  EXPECT_NEAR(passes.look, price.passes.look, 1e-12);
  EXPECT_NEAR(passes.train_forward, price.passes.train_forward, 1e-12);
  EXPECT_NEAR(passes.train_backward, price.passes.train_backward, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(
    Objective, Costs,
    testing::Values(
        Price{"name = \"standard\"\n", {0, 0, 1, 1}}, Price{"steps = 3\n", {3, 0, 1, 1}},
        Price{"name = \"pretrained-at\"\nsteps = 3\n", {3, 0, 1, 1}},
        Price{"name = \"free\"\nsteps = 3\n", {0, 0, 1, 1}, 3},
        Price{"name = \"fast\"\nguard_every = 0\n", {1, 0, 1, 1}},
        Price{"name = \"fast\"\nsteps = 3\nguard_every = 4\nguard_drop = 1.0\n",
              {1.75, 0.25, 1, 1},
              4},
        Price{"name = \"trades\"\nsteps = 3\n", {3, 1, 2, 2}},
        Price{"name = \"mart\"\nsteps = 3\n", {3, 0, 2, 2}},
        Price{"name = \"anp-vs\"\nsteps = 3\n", {3, 0, 2, 3}},
        Price{"name = \"standard\"\nawp = 0.01\n", {0, 0, 2, 2}},
        Price{"name = \"free\"\nawp = 0.01\n", {0, 0, 2, 2}},
        Price{"name = \"trades\"\nsteps = 3\nawp = 0.01\nawp_warmup = 0.5\n", {3, 1, 3, 3}, 2},
        Price{"steps = 3\ndistillation = 0.5\n", {3, 1, 1, 1}},
        Price{"steps = 3\nlabel_smoothing = 0.1\n", {3, 0, 1, 1}}));

/// The attack of TRADES and MART the plain way.
at::Tensor plain_ascent(nn::Network& network, const Batch& batch, const Key& key, bool divergent,
                        int steps, double step) {
  std::vector<float> noise;
  for (std::int64_t id : batch.sample_ids) {
    Random random(
        key.for_sample(static_cast<std::uint64_t>(id)).for_purpose(Purpose::attack_start));
    for (std::int64_t i = 0; i < batch.images[0].numel(); ++i)
      noise.push_back(static_cast<float>(1e-3 * random.normal()));
  }
  network.set_training(false);
  const at::Tensor z = network.forward(batch.images).detach();
  at::Tensor x = batch.images + at::tensor(noise, at::kFloat).view(batch.images.sizes());
  for (int k = 0; k < steps; ++k) {
    x = x.detach().requires_grad_(true);
    const at::Tensor logits = network.forward(x);
    const at::Tensor loss = divergent ? at::kl_div(logits.log_softmax(1), z.softmax(1))
                                      : at::cross_entropy_loss(logits, batch.labels);
    const at::Tensor g = torch::autograd::grad({loss}, {x})[0];
    x = x.detach() + step * g.sign();
    x = at::min(at::max(x, batch.images - kLinf.eps_pixels), batch.images + kLinf.eps_pixels);
    x = x.clamp(0, 1);
  }
  return x;
}

TEST(TradesAndMart, SeeBothImagesInTrainMode) {
  for (const std::string name : {"trades", "mart"}) {
    SCOPED_TRACE(name);
    GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
    Spy spy(*net.network);
    const Batch batch = batch_of(net);
    const Key key{.seed = 5};
    const auto objective = make(
        "name = \"" + name + "\"\nsteps = 3\nstep = \"0.02\"\ntrades_beta = 4\nmart_beta = 3\n",
        kLinf);
    const StepLoss result = objective->step(spy, batch, key);
    ASSERT_EQ(spy.seen.size(), 2U);
    EXPECT_TRUE(spy.seen[0].equal(net.x));
    const at::Tensor x = plain_ascent(*other.network, batch, key, name == "trades", 3, 0.02);
    EXPECT_LE(max_difference(spy.seen[1], x), 1e-9);
    other.network->set_training(true);
    const at::Tensor clean = other.network->forward(net.x), z = other.network->forward(x);
    const at::Tensor expected =
        name == "trades" ? trades(clean, z, net.y, 4, 0) : mart(clean, z, net.y, 3, 0);
    EXPECT_NEAR(result.loss.item<double>(), expected.item<double>(), 1e-9);
    EXPECT_LE(max_difference(result.logits, z), 1e-9);
    EXPECT_TRUE(net.network->is_training());
    EXPECT_EQ(objective->name(), name);
  }
}

void take_step(nn::Network& network, const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  const std::vector<nn::NamedTensor> parameters = network.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].tensor.data().sub_(gradients[i], 0.05);
  }
}

TEST(Free, ThePerturbationOutlivesTheBatch) {
  for (const attack::ThreatModel& threat : {kLinf, attack::ThreatModel{attack::Norm::l2, 0.5}}) {
    GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
    Spy spy(*net.network);
    const auto objective = make("name = \"free\"\nfree_replays = 2\n", threat);
    EXPECT_EQ(objective->replays(), 2);
    at::Tensor delta = at::zeros_like(net.x);
    other.network->set_training(true);
    std::vector<at::Tensor> weights;
    for (const auto& p : other.network->parameters()) weights.push_back(p.tensor);
    for (int step = 0; step < 4; ++step) {
      SCOPED_TRACE(step);
      Batch batch = batch_of(net);
      if (step >= 2) batch.images = net.x.flip(3);  // another batch
      const StepLoss result = objective->step(spy, batch, {});

      at::Tensor leaf = delta.detach().requires_grad_(true);
      const at::Tensor x = (batch.images + leaf).clamp(0, 1);
      // What keeps a length of 0 from dividing moves an L2 step by about 1e-11.
      EXPECT_LE(max_difference(spy.all.back(), x), threat.norm == attack::Norm::l2 ? 1e-10 : 1e-12);
      const at::Tensor loss = at::cross_entropy_loss(other.network->forward(x), net.y);
      std::vector<at::Tensor> wanted = weights;
      wanted.push_back(leaf);
      std::vector<at::Tensor> g = torch::autograd::grad({loss}, wanted);
      const at::Tensor sizes = g.back().flatten(1).norm(2, 1).view({-1, 1, 1, 1});
      if (threat.norm == attack::Norm::linf) {
        delta = (delta + threat.eps_pixels * g.back().sign())
                    .clamp(-threat.eps_pixels, threat.eps_pixels);
      } else {
        delta = delta + threat.eps_pixels * g.back() / sizes;
        const at::Tensor lengths = delta.flatten(1).norm(2, 1).view({-1, 1, 1, 1});
        delta = delta * at::min(threat.eps_pixels / lengths, at::ones_like(lengths));
      }
      EXPECT_NEAR(result.loss.item<double>(), loss.item<double>(), 1e-9);
      g.pop_back();
      take_step(*net.network, result.gradients);
      take_step(*other.network, g);
    }
    objective->begin_stage();
    objective->step(spy, batch_of(net), {});
    EXPECT_TRUE(spy.all.back().equal(net.x)) << "a stage begins without a perturbation";
  }
  test::expect_usage_error({"free", "l1"}, [] {
    make("name = \"free\"\n", {attack::Norm::l1, 1});
  });
}

/// A network whose answers turn wrong and right again, as the weights of a collapse do.
TEST(Fast, TheGuardTurnsToPgdAndBack) {
  GoldenNet net = golden_net("tiny_c5");
  Batch batch = batch_of(net);
  batch.labels = net.network->forward(net.x).argmax(1);  // all right
  const auto objective =
      make("name = \"fast\"\nsteps = 3\nfast_step = \"0.001\"\nguard_every = 2\nguard_drop = 0.3\n",
           {attack::Norm::linf, 1e-4});
  const auto negate_head = [&] {
    for (const auto& p : net.network->parameters()) {
      if (p.name.starts_with("fc.")) p.tensor.data().neg_();
    }
  };
  const auto passes = [&] {
    const StepLoss result = objective->step(*net.network, batch, {.seed = 1});
    EXPECT_EQ(result.backwards % 6, 0);
    return result.backwards / 6;
  };
  EXPECT_EQ(passes(), 3 + 1 + 1);  // check, single step, weights
  EXPECT_EQ(passes(), 1 + 1);
  negate_head();
  EXPECT_EQ(passes(), 3 + 1);  // the check's images serve the step
  EXPECT_EQ(passes(), 3 + 1);
  EXPECT_EQ(objective->figures().at("guard_steps"), 2);
  EXPECT_EQ(objective->figures().at("guard_accuracy"), 1);
  TensorFile saved;
  objective->save(saved);
  negate_head();
  EXPECT_EQ(passes(), 3 + 1 + 1);
  EXPECT_EQ(passes(), 1 + 1);
  negate_head();
  EXPECT_EQ(passes(), 3 + 1);
  objective->begin_stage();
  EXPECT_EQ(passes(), 3 + 1 + 1) << "a new stage has nothing to compare with";
  EXPECT_EQ(passes(), 1 + 1);
  objective->load(saved);  // in the middle of the rescue, a check being due
  EXPECT_EQ(passes(), 3 + 1);
  EXPECT_EQ(objective->figures().at("guard_steps"), 3);
  test::expect_failure({"guard"}, [&] { objective->load({}); });
}

TEST(Fast, StepsFromARandomStart) {
  GoldenNet net = golden_net("tiny_c5"), other = golden_net("tiny_c5");
  Spy fast(*net.network), pgd(*other.network);
  make("name = \"fast\"\nguard_every = 0\n", kLinf)->step(fast, batch_of(net), {.seed = 3});
  make("steps = 1\nstep = \"0.0625\"\n", kLinf)->step(pgd, batch_of(net), {.seed = 3});
  EXPECT_TRUE(fast.seen[0].equal(pgd.seen[0]));  // Wong et al. as PGD: one step of 1.25 eps
  EXPECT_EQ(make("name = \"fast\"\n", kLinf)->validation_attack()->name(), "pgd10");
}

TEST(Distillation, MixesTheTeacherIn) {
  GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
  const auto objective =
      make("name = \"standard\"\ndistillation = 0.3\ntemperature = 2\nlabel_smoothing = 0.1\n");
  const at::Tensor teacher = at::arange(30, at::kDouble).remainder(7).view({6, 5});
  at::Tensor asked;
  objective->set_model({.average_logits = [&](const at::Tensor& images) {
    asked = images;
    net.network->set_training(false);
    return teacher;
  }});
  const double loss = objective->step(*net.network, batch_of(net), {}).loss.item<double>();
  other.network->set_training(true);
  const at::Tensor z = other.network->forward(net.x);
  EXPECT_NEAR(loss,
              0.7 * smoothed_cross_entropy(z, net.y, 0.1).item<double>() +
                  0.3 * distillation(teacher, z, 2).item<double>(),
              1e-12);
  EXPECT_TRUE(asked.equal(net.x));
  EXPECT_EQ(objective->name(), "standard+smoothing+distillation");
}

TEST(Awp, GradientsAreThoseOfThePerturbedWeights) {
  GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
  const auto objective = make("steps = 2\nawp = 0.02\nawp_warmup = 0.25\n", kLinf);
  Spy spy(*net.network);
  std::vector<at::Tensor> may(net.network->parameters().size());
  may[0] = at::zeros(net.network->parameters()[0].tensor.sizes(), at::kBool);
  objective->set_model({.changeable = [&] { return may; }});
  objective->set_progress(0.3);
  const std::vector<at::Tensor> before = Spy::copies(net.network->parameters());
  const StepLoss result = objective->step(spy, batch_of(net), {.seed = 2});
  const std::vector<at::Tensor> after = Spy::copies(net.network->parameters());
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(before[i].equal(after[i]));

  other.network->set_training(true);
  const std::vector<at::Tensor> buffers = Spy::copies(other.network->buffers());
  const at::Tensor& x = spy.seen.back();
  const auto gradients_now = [&] {
    return all_gradients(at::cross_entropy_loss(other.network->forward(x), net.y), *other.network);
  };
  const std::vector<at::Tensor> g = gradients_now();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    other.network->buffers()[i].tensor.copy_(buffers[i]);
  }
  const WeightPerturbation perturbed(*other.network, g, may, 0.02);
  const std::vector<at::Tensor> expected = gradients_now();
  ASSERT_EQ(result.gradients.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(max_difference(result.gradients[i], expected[i]), 1e-10) << i;
  }
  // Statistics moved once, by the second pass.
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_LE(max_difference(net.network->buffers()[i].tensor, other.network->buffers()[i].tensor),
              1e-10);
  }
  objective->set_progress(0.2);  // in the warm-up
  EXPECT_TRUE(objective->step(spy, batch_of(net), {.seed = 2}).gradients.empty());
}

}  // namespace
}  // namespace cmat::defense
