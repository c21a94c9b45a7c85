#include "cmat/eval/robust_eval.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "cmat/attack/auto_attack.h"
#include "core/expect_error.h"

namespace cmat::eval {
namespace {

constexpr std::int64_t kBatch = 16;

/// Random images of four classes; the task has the classes 3 and 1, in this order.
struct Bench {
  Bench() {
    Random random({.seed = 5});
    images = {.channels = 3, .height = 8, .width = 8, .pixels = {}, .labels = {}};
    for (int i = 0; i < 60; ++i) {
      images.labels.push_back(i % 2 == 0 ? 3 : 1);
      for (int p = 0; p < 3 * 8 * 8; ++p)
        images.pixels.push_back(static_cast<std::uint8_t>(random.below(256)));
    }
    task.classes = {3, 1};
    nn::NetworkOptions options;
    options.architecture = "tinybn";
    options.height = options.image_width = 8;
    const nn::Description description = nn::describe(options);
    network = nn::build_network(description, at::kFloat, at::kCPU);
    nn::initialize(*network, description, 3, 1);
    pgd.threat.eps_pixels = 0.05;
    pgd.steps = 3;
    pgd.restarts = 2;
    pgd.keep = attack::PgdOptions::Keep::best;
  }
  Verdicts run(const std::vector<std::int64_t>& indices, bool attacked, std::uint64_t seed = 1) {
    const auto attack = attack::make_pgd(pgd);
    return evaluate(*network, images, task, indices, attacked ? attack.get() : nullptr,
                    {kBatch, at::kCPU}, {.seed = seed});
  }

  data::ImageSet images;
  data::Task task;
  std::unique_ptr<nn::Network> network;
  attack::PgdOptions pgd;
};

std::vector<std::int64_t> first(std::int64_t n) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(n));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

TEST(RobustEval, PaddingChangesNoVerdict) {
  Bench bench;
  for (bool attacked : {false, true}) {
    const Verdicts all = bench.run(first(48), attacked);
    for (std::int64_t n : {1, 7, 15, 16, 17, 40}) {
      const Verdicts some = bench.run(first(n), attacked);
      ASSERT_EQ(some.total(), n);
      const auto count = static_cast<std::ptrdiff_t>(n);
      EXPECT_TRUE(
          std::equal(some.predictions.begin(), some.predictions.end(), all.predictions.begin()));
      // The same places in batches of the same size: bit for bit.
      EXPECT_EQ(some.losses, std::vector<double>(all.losses.begin(), all.losses.begin() + count))
          << n;
    }
  }
}

TEST(RobustEval, OrderChangesNoVerdict) {
  Bench bench;
  for (bool attacked : {false, true}) {
    const Verdicts straight = bench.run(first(40), attacked);
    std::map<std::int64_t, std::size_t> row;
    for (std::size_t i = 0; i < straight.samples.size(); ++i) row[straight.samples[i]] = i;
    std::vector<std::int64_t> turned = Random({.seed = 2}).permutation(40);
    const Verdicts other = bench.run(turned, attacked);
    EXPECT_EQ(other.samples, turned);
    for (std::size_t i = 0; i < turned.size(); ++i) {
      const std::size_t at = row.at(turned[i]);
      EXPECT_EQ(other.predictions[i], straight.predictions[at]);
      EXPECT_EQ(other.labels[i], straight.labels[at]);
      EXPECT_NEAR(other.losses[i], straight.losses[at], 1e-6);
    }
    EXPECT_EQ(other.correct(), straight.correct());
    EXPECT_NEAR(other.mean_loss(), straight.mean_loss(), 1e-6);
  }
}

TEST(RobustEval, LabelsAreTheTasks) {
  Bench bench;
  const Verdicts v = bench.run({0, 1, 2, 5}, false);
  EXPECT_EQ(v.labels, (std::vector<std::int64_t>{0, 1, 0, 1}));
  std::int64_t correct = 0;
  double sum = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    correct += v.labels[i] == v.predictions[i];
    sum += v.losses[i];
  }
  EXPECT_EQ(v.correct(), correct);
  EXPECT_DOUBLE_EQ(v.mean_loss(), sum / 4);
}

TEST(RobustEval, TheAttackHurtsAndIsDrawnByKey) {
  Bench bench;
  const Verdicts clean = bench.run(first(40), false), attacked = bench.run(first(40), true);
  EXPECT_LE(attacked.correct(), clean.correct());
  EXPECT_GT(attacked.mean_loss(), clean.mean_loss());
  EXPECT_EQ(bench.run(first(40), true).losses, attacked.losses);
  EXPECT_NE(bench.run(first(40), true, 2).losses, attacked.losses);
}

TEST(RobustEval, LeavesTheNetworkAsItWas) {
  Bench bench;
  bench.network->set_training(true);
  std::vector<at::Tensor> before;
  for (const auto& b : bench.network->buffers()) before.push_back(b.tensor.clone());
  bench.run(first(20), true);
  EXPECT_TRUE(bench.network->is_training());
  const auto after = bench.network->buffers();
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(after[i].tensor.equal(before[i]));
  for (const auto& p : bench.network->parameters()) EXPECT_TRUE(p.tensor.requires_grad());
}

TEST(RobustEval, TellsItsProgress) {
  Bench bench;
  std::vector<std::int64_t> done;
  evaluate(*bench.network, bench.images, bench.task, first(40), nullptr, {kBatch, at::kCPU}, {},
           [&](std::int64_t n) { done.push_back(n); });
  EXPECT_EQ(done, (std::vector<std::int64_t>{16, 32, 40}));
}

TEST(RobustEval, CountsWhatAnImageCosts) {
  Bench bench;
  bench.pgd.restarts = 1;
  bench.pgd.threat.eps_pixels = 1e-6;  // nothing is broken, so nothing ends early
  // Three images are padded to one batch of 16, 20 to two: the cost of an image stays.
  for (std::int64_t n : {3, 16, 20}) {
    const Verdicts clean = bench.run(first(n), false), attacked = bench.run(first(n), true);
    EXPECT_EQ(clean.forwards, 1);
    EXPECT_EQ(clean.backwards, 0);
    EXPECT_NEAR(attacked.backwards, bench.pgd.steps, 1e-12) << n;
    EXPECT_GE(attacked.forwards, bench.pgd.steps + 1) << n;
    EXPECT_TRUE(attacked.parts.empty());
    EXPECT_TRUE(attacked.broken_by.empty());
  }
}

/// AutoAttack with small budgets on the first `n` images.
Verdicts auto_attack(Bench& bench, std::int64_t n, std::int64_t batches_at_once) {
  const auto attack = attack::make_auto_attack({.threat = bench.pgd.threat,
                                                .classes = 2,
                                                .batch = kBatch,
                                                .apgd_steps = 5,
                                                .fab_steps = 3,
                                                .square_queries = 20});
  return evaluate(*bench.network, bench.images, bench.task, first(n), attack.get(),
                  {kBatch, at::kCPU, batches_at_once}, {.seed = 1});
}

TEST(RobustEval, SeveralBatchesAtOnceChangeNoVerdict) {
  Bench bench;
  bench.pgd.threat.eps_pixels = 0.1;
  for (std::int64_t n : {5, 16, 40}) {
    SCOPED_TRACE(n);
    const Verdicts one = auto_attack(bench, n, 1), several = auto_attack(bench, n, 4);
    EXPECT_EQ(several.samples, one.samples);
    EXPECT_EQ(several.labels, one.labels);
    EXPECT_EQ(several.predictions, one.predictions);
    EXPECT_EQ(several.broken_by, one.broken_by);
  }
}

TEST(RobustEval, PartsAddUpToTheVerdicts) {
  Bench bench;
  bench.pgd.threat.eps_pixels = 0.1;
  const std::int64_t n = 21;  // in two batches, the second one padded
  const Verdicts clean = bench.run(first(n), false), v = auto_attack(bench, n, 1);
  ASSERT_EQ(v.parts.size(), 4u);
  ASSERT_EQ(v.broken_by.size(), static_cast<std::size_t>(n));
  EXPECT_EQ(v.parts.front().attacked, clean.correct());
  std::int64_t broken = 0;
  for (std::size_t p = 0; p < v.parts.size(); ++p) {
    EXPECT_EQ(v.parts[p].attacked, clean.correct() - broken) << v.parts[p].name;
    EXPECT_EQ(v.parts[p].broken,
              std::count(v.broken_by.begin(), v.broken_by.end(), static_cast<std::int64_t>(p)));
    broken += v.parts[p].broken;
  }
  EXPECT_GT(broken, 0);
  EXPECT_EQ(v.correct(), clean.correct() - broken);
  EXPECT_GT(v.forwards, v.backwards);
}

TEST(CleanLogits, AreThoseOfTheVerdicts) {
  Bench bench;
  const std::vector<std::int64_t> indices = first(21);
  const at::Tensor logits =
      clean_logits(*bench.network, bench.images, bench.task, indices, {kBatch, at::kCPU});
  ASSERT_EQ(logits.sizes().vec(), (std::vector<std::int64_t>{21, 2}));
  const Verdicts v = bench.run(indices, false);
  for (std::int64_t i = 0; i < 21; ++i) {
    EXPECT_EQ(logits[i].argmax().item<std::int64_t>(), v.predictions[static_cast<std::size_t>(i)]);
  }
  test::expect_failure({"no images"}, [&] {
    clean_logits(*bench.network, bench.images, bench.task, {}, {kBatch, at::kCPU});
  });
}

TEST(PairedDifference, EqualsPlainLoops) {
  Random random({.seed = 8});
  for (std::size_t n : {2U, 3U, 50U}) {
    std::vector<double> a, b, d;
    for (std::size_t i = 0; i < n; ++i) {
      a.push_back(random.normal());
      b.push_back(random.normal());
      d.push_back(a.back() - b.back());
    }
    double sum = 0, squares = 0;
    for (double x : d) sum += x;
    const double mean = sum / static_cast<double>(n);
    for (double x : d) squares += (x - mean) * (x - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(n - 1));
    const PairedDifference p = paired_difference(a, b);
    EXPECT_NEAR(p.mean, mean, 1e-12);
    EXPECT_NEAR(p.standard_error, deviation / std::sqrt(static_cast<double>(n)), 1e-12);
  }
}

TEST(PairedDifference, Corners) {
  const std::vector<double> one = {2.0}, two = {1.0, 3.0}, none;
  EXPECT_EQ(paired_difference(one, one).mean, 0);
  EXPECT_EQ(paired_difference(one, one).standard_error, 0);
  const std::vector<double> shifted = {0.5, 2.5};
  EXPECT_EQ(paired_difference(two, shifted).mean, 0.5);
  EXPECT_EQ(paired_difference(two, shifted).standard_error, 0);
  test::expect_failure({"paired"}, [&] { paired_difference(one, two); });
  test::expect_failure({"paired"}, [&] { paired_difference(none, none); });
}

}  // namespace
}  // namespace cmat::eval
