// ANP-VS: its maths against golden numbers and closed forms, and its step on the golden networks.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "cmat/defense/beta_bernoulli.h"
#include "cmat/defense/channel_masks.h"
#include "cmat/nn/tensors.h"
#include "core/expect_error.h"
#include "defense/defense_helpers.h"
#include "golden_tensor.h"

namespace cmat::defense {
namespace {

using nlohmann::json;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

constexpr double kAnpTolerance = 1e-9;  // tests/golden/README.md

/// The golden units' free parameters, as leaves.
struct FreeUnits {
  at::Tensor a, b;
  explicit FreeUnits(const json& moments)
      : a(golden_tensor(moments.at("a_uc")).requires_grad_(true)),
        b(golden_tensor(moments.at("b_uc")).requires_grad_(true)) {}
  std::vector<at::Tensor> gradients(const at::Tensor& value) const {
    return torch::autograd::grad({value.sum()}, {a, b}, {}, /*retain_graph=*/true);
  }
};

TEST(GoldenAnpVs, MomentsAndTheirDerivatives) {
  const json golden = test::golden("anp_vs.json").at("moments");
  const FreeUnits units(golden);
  const Kumaraswamy q = kumaraswamy(units.a, units.b);
  const auto expect = [&](const at::Tensor& actual, const char* name) {
    EXPECT_LE(max_difference(actual, golden_tensor(golden.at(name))), kAnpTolerance) << name;
  };
  expect(q.a, "a");
  expect(q.b, "b");
  const at::Tensor mean = mean_probability(q);
  const at::Tensor kl = divergence_from_prior(q, golden.at("alpha").get<double>());
  expect(mean, "mean_pi");
  expect(kl, "kl");
  expect(units.gradients(mean)[0], "d_mean_d_a_uc");
  expect(units.gradients(mean)[1], "d_mean_d_b_uc");
  expect(units.gradients(kl)[0], "d_kl_d_a_uc");
  expect(units.gradients(kl)[1], "d_kl_d_b_uc");
}

TEST(GoldenAnpVs, SampleAndItsDerivatives) {
  const json all = test::golden("anp_vs.json"), golden = all.at("sample");
  const FreeUnits units(all.at("moments"));
  const at::Tensor log_pi =
      log_probability(kumaraswamy(units.a, units.b), golden_tensor(golden.at("u")));
  const at::Tensor z = concrete_sample(log_pi, golden_tensor(golden.at("v")), golden.at("tau"));
  const auto expect = [&](const at::Tensor& actual, const char* name) {
    EXPECT_LE(max_difference(actual, golden_tensor(golden.at(name))), kAnpTolerance) << name;
  };
  expect(log_pi, "log_pi");
  expect(z, "z");
  expect(units.gradients(z)[0], "d_sum_z_d_a_uc");
  expect(units.gradients(z)[1], "d_sum_z_d_b_uc");
}

TEST(GoldenAnpVs, VulnerabilityOfTappedFeatures) {
  const json golden = test::golden("anp_vs.json").at("vulnerability");
  const GoldenNet net = golden_net(golden.at("net").get<std::string>());
  std::vector<at::Tensor> seen;
  net.network->set_tap([&](const std::string& norm, const at::Tensor& output) {
    EXPECT_EQ(norm, "");  // this network has none
    seen.push_back(output);
    return output;
  });
  const auto features_of = [&](const at::Tensor& images) {
    seen.clear();
    net.network->forward(images);
    std::vector<at::Tensor> features = seen;
    features.push_back(features.back().mean({2, 3}));  // the golden numbers' third
    return features;
  };
  const std::vector<at::Tensor> clean = features_of(net.x);
  const std::vector<at::Tensor> adversarial = features_of(golden_tensor(golden.at("x_adv")));
  ASSERT_EQ(clean.size(), 3U);
  const auto per_layer = golden.at("per_layer").get<std::vector<double>>();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(vulnerability({clean[i]}, {adversarial[i]}).item<double>(), per_layer[i], 1e-12);
  }
  const at::Tensor vs = vulnerability(clean, adversarial);
  EXPECT_NEAR(vs.item<double>(), golden.at("vs").get<double>(), 1e-12);
  for (const nn::NamedTensor& p : net.network->parameters()) {
    const std::string key = p.name == "conv1.weight" ? "grad_conv1_weight"
                            : p.name == "conv2.bias" ? "grad_conv2_bias"
                                                     : "";
    if (key.empty()) continue;
    const at::Tensor g = torch::autograd::grad({vs}, {p.tensor}, {}, /*retain_graph=*/true)[0];
    EXPECT_LE(max_difference(g, golden_tensor(golden.at(key))), 1e-10) << key;
  }
  net.network->set_tap({});
  seen.clear();
  net.network->forward(net.x);
  EXPECT_TRUE(seen.empty());
}

/// The quantiles of a distribution average to its mean.
TEST(BetaBernoulli, QuantilesAverageToTheMean) {
  constexpr std::int64_t kPoints = 200000;
  const at::Tensor u =
      ((at::arange(kPoints, at::kDouble) + 0.5) / static_cast<double>(kPoints)).unsqueeze(1);
  const Kumaraswamy q = kumaraswamy(at::tensor({2.0, -1.0, 0.0, 1.0, -3.0}, at::kDouble),
                                    at::tensor({0.5413, 0.5413, 2.0, -1.0, 0.5}, at::kDouble));
  const at::Tensor pi = log_probability(q, u).exp();
  EXPECT_LE(max_difference(pi.mean(0), mean_probability(q)), 2e-5);
}

/// A cold concrete sample is 0 or 1, and 1 as often as pi says.
TEST(BetaBernoulli, ColdSamplesKeepWithTheirProbability) {
  constexpr std::int64_t kPoints = 100000;
  const at::Tensor v =
      ((at::arange(kPoints, at::kDouble) + 0.5) / static_cast<double>(kPoints)).unsqueeze(1);
  const at::Tensor pi = at::tensor({0.05, 0.5, 0.9}, at::kDouble);
  const at::Tensor z = concrete_sample(pi.log(), v, 1e-4);
  EXPECT_LE(max_difference(z.mean(0), pi), 1e-4);
  EXPECT_LE((z * (1 - z)).mean().item<double>(), 1e-3);
}

TEST(BetaBernoulli, ThePriorItselfHasNoDivergence) {
  constexpr double kAlpha = 0.3;
  const at::Tensor b = at::tensor({1.0, 1.0, 1.0, 0.9, 1.1}, at::kDouble);
  const at::Tensor a =
      at::tensor({kAlpha, kAlpha - 0.02, kAlpha + 0.02, kAlpha, kAlpha}, at::kDouble);
  const at::Tensor kl = divergence_from_prior({a, b}, kAlpha);
  EXPECT_NEAR(kl[0].item<double>(), 0, 1e-12);
  for (int i = 1; i < 5; ++i) EXPECT_GT(kl[i].item<double>(), 1e-4) << i;
}

/// Numbers in [0,1), a few of them 0.
at::Tensor some_factors(std::int64_t units) {
  const at::Tensor i = at::arange(units, at::kDouble);
  return (i * 0.37 + 0.2).frac() * i.remainder(5).ne(0);
}

TEST(ChannelMasks, FoldIntoTheNormsExactly) {
  for (const std::string architecture : {"tinybn", "resnet8", "small_cnn"}) {
    SCOPED_TRACE(architecture);
    const nn::Description description =
        nn::describe({.architecture = architecture, .width = 0.5, .height = 16, .image_width = 16});
    const auto network = nn::build_network(description, at::kDouble, at::kCPU);
    nn::initialize(*network, description, /*seed=*/3, /*task=*/1);
    const at::NoGradGuard no_grad;
    const at::Tensor x = at::arange(4 * 3 * 16 * 16, at::kDouble).mul(0.6180339887).frac();
    const at::Tensor images = x.view({4, 3, 16, 16});
    network->set_training(true);
    network->forward(images);  // statistics that are not the identity
    network->set_training(false);
    for (const nn::NamedTensor& p : network->parameters()) {
      if (p.tensor.dim() == 1) p.tensor.detach().add_(some_factors(p.tensor.numel()), -1.4);
    }
    const std::vector<MaskedNorm> norms = masked_norms(*network);
    ASSERT_FALSE(norms.empty());
    const at::Tensor factors = some_factors(norms.back().begin + norms.back().channels);
    const at::Tensor before = network->forward(images);
    const at::Tensor masked = masked_forward(*network, images, norms, factors.unsqueeze(0));
    scale_norms(*network, norms, factors);
    EXPECT_GT(max_difference(masked, before), 1e-6);
    EXPECT_LE(max_difference(network->forward(images), masked), 1e-12);
  }
}

TEST(ChannelMasks, StandBehindNormsThatOnlyAReluReads) {
  const auto norms_of = [](const std::string& architecture) {
    const nn::Description d = nn::describe({.architecture = architecture, .width = 0.25});
    return nn::build_network(d, at::kDouble, at::kCPU)->scalable_norms();
  };
  EXPECT_EQ(norms_of("resnet8"),
            (std::vector<std::string>{"bn1", "layer1.0.bn1", "layer2.0.bn1", "layer3.0.bn1"}));
  EXPECT_EQ(norms_of("small_cnn"), (std::vector<std::string>{"bn1", "bn2", "bn3"}));
  EXPECT_TRUE(norms_of("linear").empty());
  EXPECT_TRUE(norms_of("tiny").empty());
}

/// x' = x, so the loss is a smooth function of the weights.
constexpr attack::ThreatModel kNoRadius = {attack::Norm::linf, 0};
constexpr const char* kAnpVs = "name = \"anp-vs\"\nsteps = 1\nanp_vulnerability = 0.7\n";
const Key kAnpKey{.seed = 4, .task = 1, .stage = 2};

at::Tensor stored(const TensorFile& file, const std::string& name) {
  return nn::from_bytes(file.tensors.at(name));
}

at::Tensor stored_fold(const TensorFile& file) {
  return mean_probability(kumaraswamy(stored(file, "masks/a"), stored(file, "masks/b")));
}

at::Tensor parameter_of(const nn::Network& network, const std::string& name) {
  for (const nn::NamedTensor& p : network.parameters()) {
    if (p.name == name) return p.tensor.detach();
  }
  throw std::runtime_error("no parameter " + name);
}

/// Of the weights as they are for all but the norms; those step as their unmasked weights would.
TEST(AnpVs, GradientEqualsFiniteDifferences) {
  GoldenNet net = golden_net("tinybn_c5"), same = golden_net("tinybn_c5");
  const auto objective = make(kAnpVs, kNoRadius);
  const StepLoss step = objective->step(*net.network, batch_of(net), kAnpKey);
  TensorFile state;
  objective->save(state);
  const at::Tensor after = stored_fold(state), before = at::full_like(after, 0.6802001453517017);
  const auto loss_at = [&](std::size_t n, std::int64_t i, double delta) {
    GoldenNet moved = golden_net("tinybn_c5");
    moved.network->parameters()[n].tensor.detach().view(-1)[i].add_(delta);
    return make(kAnpVs, kNoRadius)
        ->step(*moved.network, batch_of(moved), kAnpKey)
        .loss.item<double>();
  };
  const std::vector<MaskedNorm> norms = masked_norms(*net.network);
  ASSERT_EQ(norms.size(), 2U);
  const std::vector<nn::NamedTensor> parameters = net.network->parameters();
  ASSERT_EQ(step.gradients.size(), parameters.size());
  for (std::size_t n = 0; n < parameters.size(); ++n) {
    const std::string& name = parameters[n].name;
    const std::int64_t count = parameters[n].tensor.numel();
    for (std::int64_t i = 0; i < count; i += 1 + count / 4) {
      double factor = 1;
      for (const MaskedNorm& norm : norms) {
        if (!name.starts_with(norm.name + ".")) continue;
        factor = (before * after)[norm.begin + i].item<double>();
        EXPECT_NEAR(
            parameters[n].tensor.detach()[i].item<double>(),
            (parameter_of(*same.network, name)[i] * after[norm.begin + i] / before[norm.begin + i])
                .item<double>(),
            1e-12);
      }
      const double slope = (loss_at(n, i, 1e-6) - loss_at(n, i, -1e-6)) / 2e-6;
      EXPECT_NEAR(step.gradients[n].reshape(-1)[i].item<double>(), factor * slope, 1e-6)
          << name << " " << i;
    }
  }
}

/// The masks follow the loss on x' and their divergence, with what the norms hold standing still.
TEST(AnpVs, MasksFollowTheAdversarialLoss) {
  GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
  const auto objective = make(kAnpVs, kNoRadius);
  Batch known = batch_of(net);
  known.training_images = 50;
  objective->step(*net.network, known, kAnpKey);
  TensorFile first;
  objective->save(first);
  const std::int64_t units = stored(first, "masks/a").numel();
  const Batch batch = batch_of(other);
  const MaskNoise noise = draw_mask_noise(units, batch.sample_ids,
                                          kAnpKey.for_purpose(Purpose::channel_mask).for_step(1));
  const at::NoGradGuard no_grad;
  other.network->set_training(true);
  const std::vector<MaskedNorm> norms = masked_norms(*other.network);
  const auto loss = [&](const at::Tensor& a, const at::Tensor& b) {
    const Kumaraswamy q = kumaraswamy(a, b);
    const at::Tensor z = concrete_sample(log_probability(q, noise.u), noise.v, 0.1);
    const at::Tensor logits =
        masked_forward(*other.network, other.x, norms, z / 0.6802001453517017);
    return at::cross_entropy_loss(logits, other.y).item<double>() +
           divergence_from_prior(q, 1e-4).sum().item<double>() / 50;
  };
  const at::Tensor a = at::full({units}, 2.0, at::kDouble),
                   b = at::full({units}, 0.5413, at::kDouble);
  const at::Tensor by_a = stored(first, "masks/a/moment") / 0.1;  // Adam's first moment
  const at::Tensor by_b = stored(first, "masks/b/moment") / 0.1;
  for (std::int64_t i = 0; i < units; i += 2) {
    const at::Tensor move = at::zeros_like(a);
    move[i].fill_(1e-6);
    EXPECT_NEAR(by_a[i].item<double>(), (loss(a + move, b) - loss(a - move, b)) / 2e-6, 1e-6) << i;
    EXPECT_NEAR(by_b[i].item<double>(), (loss(a, b + move) - loss(a, b - move)) / 2e-6, 1e-6) << i;
  }
  // Adam's first step has the length of its rate.
  EXPECT_LE(max_difference((stored(first, "masks/a") - a).abs(), at::full_like(a, 0.01)), 1e-4);
}

TEST(AnpVs, SharedNoiseLeavesNoVulnerabilityWithoutAnAttack) {
  const auto loss = [](const std::string& more) {
    GoldenNet net = golden_net("tinybn_c5");
    const auto objective = make("name = \"anp-vs\"\nsteps = 1\n" + more, kNoRadius);
    return objective->step(*net.network, batch_of(net), kAnpKey).loss.item<double>();
  };
  const std::string shared = "anp_shared_noise = true\n";
  EXPECT_NEAR(loss(shared + "anp_vulnerability = 100\n"), loss(shared + "anp_vulnerability = 0\n"),
              1e-12);
  EXPECT_GT(loss("anp_vulnerability = 100\n"), loss("anp_vulnerability = 0\n") + 0.1);
  EXPECT_NE(loss("anp_adversarial = 0\n"), loss("anp_adversarial = 1\n"));
}

/// Puts one unit's mask to nearly 0.
TensorFile without_unit(TensorFile state, std::int64_t unit) {
  const at::Tensor a = stored(state, "masks/a");
  a[unit].fill_(-10);
  state.tensors["masks/a"] = nn::to_bytes(a);
  return state;
}

TEST(AnpVs, EndsAStageWithoutPrunedChannels) {
  GoldenNet net = golden_net("tinybn_c5");
  const auto objective = make(kAnpVs, kNoRadius);
  objective->step(*net.network, batch_of(net), kAnpKey);
  EXPECT_EQ(objective->figures().at("kept_channels"), 1);
  TensorFile state;
  objective->save(state);
  objective->load(without_unit(state, 3));
  const auto copies = [&] { return Spy::copies(net.network->parameters()); };
  const std::vector<at::Tensor> before = copies();
  objective->end_stage(*net.network);
  const at::Tensor weight = parameter_of(*net.network, "bn1.weight");
  const at::Tensor bias = parameter_of(*net.network, "bn1.bias");
  EXPECT_EQ(weight[3].item<double>(), 0);
  EXPECT_EQ(bias[3].item<double>(), 0);
  std::int64_t changed = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    changed += copies()[i].ne(before[i]).sum().item<std::int64_t>();
  }
  EXPECT_EQ(changed, 2);

  objective->begin_stage();  // of the same task
  const StepLoss step = objective->step(*net.network, batch_of(net), kAnpKey);
  EXPECT_EQ(weight[3].item<double>(), 0);
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (net.network->parameters()[i].name.starts_with("bn1.")) {
      EXPECT_EQ(step.gradients[i][3].item<double>(), 0);
    }
  }
  EXPECT_NEAR(objective->figures().at("kept_channels"), 17.0 / 18, 1e-12);
  objective->end_stage(*net.network);
  objective->begin_task(*net.network);
  EXPECT_EQ(weight[3].item<double>(), 1);
  EXPECT_EQ(bias[3].item<double>(), 0);
}

TEST(AnpVs, PrunesAsTheKeptEpochHadIt) {
  GoldenNet net = golden_net("tinybn_c5");
  const auto objective = make(kAnpVs, kNoRadius);
  objective->step(*net.network, batch_of(net), kAnpKey);
  objective->keep_epoch();
  TensorFile state;
  objective->save(state);
  const auto later = make(kAnpVs, kNoRadius);
  later->load(without_unit(state, 3));
  const at::Tensor weight = parameter_of(*net.network, "bn1.weight");
  later->end_stage(*net.network);
  EXPECT_NE(weight[3].item<double>(), 0);
  later->keep_epoch();
  later->end_stage(*net.network);
  EXPECT_EQ(weight[3].item<double>(), 0);
}

TEST(AnpVs, GoesOnFromWhatItSaved) {
  GoldenNet net = golden_net("tinybn_c5"), other = golden_net("tinybn_c5");
  const auto first = make(kAnpVs, {attack::Norm::linf, 0.05});
  const auto second = make(kAnpVs, {attack::Norm::linf, 0.05});
  first->step(*net.network, batch_of(net), kAnpKey);
  second->step(*other.network, batch_of(other), kAnpKey);
  TensorFile state;
  first->save(state);
  second->begin_stage();
  second->load(state);
  const StepLoss a = first->step(*net.network, batch_of(net), kAnpKey);
  const StepLoss b = second->step(*other.network, batch_of(other), kAnpKey);
  EXPECT_EQ(a.loss.item<double>(), b.loss.item<double>());
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    EXPECT_TRUE(a.gradients[i].equal(b.gradients[i])) << i;
  }
  TensorFile left, right;
  first->save(left);
  second->save(right);
  ASSERT_EQ(left.tensors.size(), right.tensors.size());
  for (const auto& [name, tensor] : left.tensors) {
    EXPECT_TRUE(tensor.bytes == right.tensors.at(name).bytes) << name;
  }
  state.tensors.erase("masks/b");
  test::expect_failure({"masks/b"}, [&] { second->load(state); });
}

TEST(AnpVs, RefusesWhatItCannotDo) {
  test::expect_usage_error({"anp-vs", "objective.awp"},
                           [] { make("name = \"anp-vs\"\nawp = 0.01\n"); });
  test::expect_usage_error({"anp-vs", "objective.distillation"},
                           [] { make("name = \"anp-vs\"\ndistillation = 0.5\n"); });
  GoldenNet net = golden_net("tiny_c5");
  test::expect_failure({"anp-vs", "batch norms"},
                       [&] { make(kAnpVs)->step(*net.network, batch_of(net), kAnpKey); });
  EXPECT_EQ(make("name = \"anp-vs\"\nlabel_smoothing = 0.1\n")->name(), "anp-vs+smoothing");
}

}  // namespace
}  // namespace cmat::defense
