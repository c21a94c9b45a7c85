#include "cmat/compare/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cmat/core/random.h"

namespace cmat::compare {
namespace {

/// One task of `n` images of which the first `right` are classified right.
RunOutcome run_of(std::int64_t seed, std::int64_t n, std::int64_t right) {
  TaskOutcome task;
  for (std::int64_t i = 0; i < n; ++i) {
    task.images.push_back(i);
    task.right.push_back(i < right);
  }
  return {seed, {task}};
}

double deviation(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / (n - 1));
}

/// What a row is compared with to see its own deviation: never varies.
Outcomes perfect(std::size_t runs, std::int64_t n) {
  Outcomes row;
  for (std::size_t r = 0; r < runs; ++r) row.push_back(run_of(100 + static_cast<int>(r), n, n));
  return row;
}

TEST(Bootstrap, OneRunVariesAsABinomial) {
  const Outcomes row = {run_of(1, 200, 60)};
  const auto differences = resampled_differences(row, perfect(1, 200), 20000, 7);
  EXPECT_NEAR(deviation(differences), std::sqrt(0.3 * 0.7 / 200), 0.03 * 0.0324);
  const Mean mean = bootstrap_mean(row, 20000, 7);
  EXPECT_DOUBLE_EQ(mean.accuracy, 0.3);
  EXPECT_EQ(mean.spread, 0);
  EXPECT_NEAR(mean.interval.low, 0.3 - 1.96 * 0.0324, 0.006);
  EXPECT_NEAR(mean.interval.high, 0.3 + 1.96 * 0.0324, 0.006);
}

TEST(Bootstrap, TasksCountTheSame) {
  RunOutcome run = run_of(1, 400, 400);
  run.tasks.push_back(run_of(1, 100, 50).tasks[0]);
  EXPECT_DOUBLE_EQ(run.accuracy(), 0.75);
  RunOutcome whole = run;
  whole.tasks[1].right.assign(100, true);
  const auto differences = resampled_differences({run}, {whole}, 20000, 3);
  EXPECT_NEAR(deviation(differences), std::sqrt(0.25 / 100) / 2, 0.001);
}

/// Images that never vary leave the runs' standard error, with n - 1, however few runs there are.
TEST(Bootstrap, RunsVaryAsTheirStandardErrorSays) {
  for (const std::vector<std::int64_t>& right :
       {std::vector<std::int64_t>{0, 1}, {0, 1, 1, 0, 1}}) {
    Outcomes row;
    std::vector<double> accuracies;
    for (std::size_t r = 0; r < right.size(); ++r) {
      row.push_back(run_of(static_cast<std::int64_t>(r), 1, right[r]));
      accuracies.push_back(static_cast<double>(right[r]));
    }
    const auto n = static_cast<double>(right.size());
    const auto differences = resampled_differences(row, perfect(right.size(), 1), 40000, 5);
    EXPECT_NEAR(deviation(differences), deviation(accuracies) / std::sqrt(n), 0.01);
    EXPECT_NEAR(bootstrap_mean(row, 100, 5).spread, deviation(accuracies), 1e-12);
  }
}

/// A hard image is hard for every run: ten equal runs know no more about images than one.
TEST(Bootstrap, EqualRunsDoNotShrinkWhatImagesVary) {
  Outcomes row;
  for (int r = 0; r < 10; ++r) row.push_back(run_of(r, 100, 50));
  EXPECT_NEAR(deviation(resampled_differences(row, perfect(10, 100), 20000, 5)), 0.05, 0.002);
}

/// Runs that judged images of their own vary as their accuracies do: images count once, not twice.
TEST(Bootstrap, RunsOnOtherImagesVaryAsRunsOnly) {
  Outcomes row;
  std::vector<double> accuracies;
  for (int r = 0; r < 4; ++r) {
    row.push_back(run_of(r, 100, 40 + 6 * r));
    accuracies.push_back(row.back().accuracy());
    for (std::int64_t& image : row.back().tasks[0].images) image += 1000 * r;
  }
  EXPECT_NEAR(deviation(resampled_differences(row, perfect(4, 100), 20000, 5)),
              deviation(accuracies) / 2, 0.001);
}

TEST(Bootstrap, PairsRowsByImageAndSeed) {
  const Outcomes row = {run_of(1, 50, 20), run_of(2, 50, 30)};
  const auto same = resampled_differences(row, row, 1000, 5);
  EXPECT_EQ(same.front(), 0);
  EXPECT_EQ(same.back(), 0);
  EXPECT_EQ(p_difference(same), 1);
  Outcomes other = row;
  other[0].seed = 9;  // not the same runs: they are drawn apart
  EXPECT_GT(deviation(resampled_differences(row, other, 1000, 5)), 0.01);
}

TEST(Bootstrap, DependsOnItsSeedOnly) {
  const Outcomes row = {run_of(1, 50, 20), run_of(2, 50, 30)};
  EXPECT_EQ(resampled_differences(row, perfect(2, 50), 200, 5),
            resampled_differences(row, perfect(2, 50), 200, 5));
  EXPECT_NE(resampled_differences(row, perfect(2, 50), 200, 5),
            resampled_differences(row, perfect(2, 50), 200, 6));
}

/// Two rows with the same chance of being right differ "significantly" about as often as asked.
TEST(Bootstrap, RejectsATrueNullAboutAsOftenAsItSays) {
  int rejected = 0;
  const int trials = 300;
  for (int trial = 0; trial < trials; ++trial) {
    Outcomes rows[2];
    for (int row = 0; row < 2; ++row) {
      rows[row] = {run_of(1, 100, 0)};
      Random random({.seed = static_cast<std::uint64_t>(2 * trial + row)});
      for (std::size_t i = 0; i < 100; ++i) rows[row][0].tasks[0].right[i] = random.uniform() < 0.4;
    }
    rejected += p_difference(resampled_differences(rows[0], rows[1], 400, 1)) <= 0.05 ? 1 : 0;
  }
  EXPECT_GE(rejected, 5);   // 15 expected
  EXPECT_LE(rejected, 30);  // 4 standard deviations above
}

TEST(PValues, CountResamples) {
  const std::vector<double> sorted = {-0.03, -0.01, 0.0, 0.01, 0.02, 0.02, 0.03, 0.04, 0.05};
  EXPECT_DOUBLE_EQ(p_difference(sorted), 2 * 4.0 / 10);  // three at most 0
  EXPECT_DOUBLE_EQ(p_not_worse(sorted, 0.02), 2.0 / 10);
  EXPECT_DOUBLE_EQ(p_equivalent(sorted, 0.045), 2.0 / 10);
  EXPECT_DOUBLE_EQ(p_equivalent(sorted, 0.02), 6.0 / 10);
}

TEST(Holm, AdjustsInOrder) {
  const std::vector<double> adjusted = holm(std::vector<double>{0.01, 0.04, 0.03, 0.005});
  const std::vector<double> expected = {0.03, 0.06, 0.06, 0.02};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(adjusted[i], expected[i]);
  EXPECT_EQ(holm(std::vector<double>{0.7, 0.9}), (std::vector<double>{1, 1}));
  EXPECT_TRUE(holm({}).empty());
}

}  // namespace
}  // namespace cmat::compare
