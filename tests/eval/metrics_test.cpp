#include "cmat/eval/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "cmat/core/error.h"
#include "golden_file.h"

namespace cmat::eval {
namespace {

constexpr double kTolerance = 1e-12;

AccuracyMatrix lower_triangle(const nlohmann::json& square) {
  const auto values = test::numbers(square);
  const auto tasks = static_cast<std::size_t>(test::shape(square).at(0));
  AccuracyMatrix r;
  for (std::size_t i = 0; i < tasks; ++i) {
    const auto row = values.begin() + static_cast<std::ptrdiff_t>(i * tasks);
    r.emplace_back(row, row + static_cast<std::ptrdiff_t>(i + 1));
  }
  return r;
}

TEST(MetricsGolden, Classification) {
  const auto cases = test::golden("metrics.json").at("classification");
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, expected] : cases.items()) {
    SCOPED_TRACE(name);
    const auto labels = expected.at("y").get<std::vector<std::int64_t>>();
    const auto predictions = expected.at("pred").get<std::vector<std::int64_t>>();
    const auto classes = expected.at("classes").get<std::int64_t>();
    const Confusion confusion = confusion_matrix(labels, predictions, classes);
    std::vector<std::int64_t> flat;
    for (const auto& row : confusion) flat.insert(flat.end(), row.begin(), row.end());
    EXPECT_EQ(
        flat,
        expected.at("confusion_row_true_col_pred").at("data").get<std::vector<std::int64_t>>());
    const MacroScores scores = macro_scores(confusion);
    EXPECT_NEAR(scores.accuracy, expected.at("accuracy").get<double>(), kTolerance);
    EXPECT_NEAR(scores.precision, expected.at("macro_precision").get<double>(), kTolerance);
    EXPECT_NEAR(scores.recall, expected.at("macro_recall").get<double>(), kTolerance);
    EXPECT_NEAR(scores.f1, expected.at("macro_f1").get<double>(), kTolerance);
  }
}

TEST(MetricsGolden, AccuracyMatrix) {
  const auto cases = test::golden("metrics.json").at("matrix");
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, expected] : cases.items()) {
    SCOPED_TRACE(name);
    const AccuracyMatrix r = lower_triangle(expected.at("R_row_after_task_col_on_task"));
    EXPECT_NEAR(average_accuracy(r), expected.at("average_accuracy").get<double>(), kTolerance);
    EXPECT_NEAR(backward_transfer(r), expected.at("bwt_gem").get<double>(), kTolerance);
    EXPECT_NEAR(backward_transfer_all_pairs(r), expected.at("bwt_all_pairs").get<double>(),
                kTolerance);
    EXPECT_NEAR(forgetting(r), expected.at("forgetting_chaudhry").get<double>(), kTolerance);
  }
}

TEST(MetricsGolden, Wilson) {
  const auto cases = test::golden("metrics.json").at("wilson");
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, expected] : cases.items()) {
    SCOPED_TRACE(name);
    const auto of = name.find("_of_");
    ASSERT_NE(of, std::string::npos);
    const Interval interval =
        wilson(std::stoll(name.substr(0, of)), std::stoll(name.substr(of + 4)));
    EXPECT_NEAR(interval.low, expected.at("low").get<double>(), kTolerance);
    EXPECT_NEAR(interval.high, expected.at("high").get<double>(), kTolerance);
  }
}

// Equally large tasks: the interval of all images together, which the golden numbers check.
TEST(MetricsGolden, MeanOfEqualTasksHasWilsonsInterval) {
  const nlohmann::json entries = test::golden("metrics.json").at("wilson");  // outlives the loop
  for (const auto& [name, expected] : entries.items()) {
    SCOPED_TRACE(name);
    const auto of = name.find("_of_");
    const std::int64_t correct = std::stoll(name.substr(0, of)),
                       total = std::stoll(name.substr(of + 4));
    if (total % 2 != 0 || total == 0) continue;
    const std::int64_t first = std::min(correct, total / 2);
    const std::vector<Counts> tasks = {{first, total / 2}, {correct - first, total / 2}};
    const MeanAccuracy mean = mean_accuracy(tasks);
    EXPECT_NEAR(mean.accuracy, static_cast<double>(correct) / static_cast<double>(total),
                kTolerance);
    EXPECT_NEAR(mean.interval.low, expected.at("low").get<double>(), kTolerance);
    EXPECT_NEAR(mean.interval.high, expected.at("high").get<double>(), kTolerance);
  }
}

// Tasks of 10 and 90 images: the mean's variance is p (1-p) / 4 (1/10 + 1/90), that of 36 images.
TEST(Metrics, MeanOfUnequalTasksCountsTasksNotImages) {
  const std::vector<Counts> tasks = {{5, 10}, {90, 90}};
  const MeanAccuracy mean = mean_accuracy(tasks);
  EXPECT_DOUBLE_EQ(mean.accuracy, 0.75);
  const Interval expected = wilson(27, 36);
  EXPECT_NEAR(mean.interval.low, expected.low, kTolerance);
  EXPECT_NEAR(mean.interval.high, expected.high, kTolerance);
}

TEST(Metrics, MeanOverNothingIsRefused) {
  EXPECT_THROW(mean_accuracy({}), Error);
  const std::vector<Counts> tasks = {{1, 2}, {0, 0}};
  EXPECT_THROW(mean_accuracy(tasks), Error);
}

// What macro_scores does in counts, in the words of a textbook: one pass over the images per class.
MacroScores slow_scores(const std::vector<std::int64_t>& labels,
                        const std::vector<std::int64_t>& predictions, std::int64_t classes) {
  MacroScores sum;
  for (std::int64_t k = 0; k < classes; ++k) {
    double true_positive = 0, false_positive = 0, false_negative = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      true_positive += labels[i] == k && predictions[i] == k;
      false_positive += labels[i] != k && predictions[i] == k;
      false_negative += labels[i] == k && predictions[i] != k;
    }
    const auto safe = [](double a, double b) { return b == 0 ? 0 : a / b; };
    const double precision = safe(true_positive, true_positive + false_positive);
    const double recall = safe(true_positive, true_positive + false_negative);
    sum.precision += precision / static_cast<double>(classes);
    sum.recall += recall / static_cast<double>(classes);
    sum.f1 += safe(2 * precision * recall, precision + recall) / static_cast<double>(classes);
    sum.accuracy += safe(true_positive, static_cast<double>(labels.size()));
  }
  return sum;
}

TEST(Metrics, MacroScoresEqualTheTextbook) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::int64_t classes = 1 + static_cast<std::int64_t>(random() % 7);
    std::vector<std::int64_t> labels(random() % 30), predictions(labels.size());
    for (auto* side : {&labels, &predictions}) {
      for (auto& value : *side) value = static_cast<std::int64_t>(random()) % classes;
    }
    const MacroScores fast = macro_scores(confusion_matrix(labels, predictions, classes));
    const MacroScores slow = slow_scores(labels, predictions, classes);
    EXPECT_NEAR(fast.accuracy, slow.accuracy, kTolerance);
    EXPECT_NEAR(fast.precision, slow.precision, kTolerance);
    EXPECT_NEAR(fast.recall, slow.recall, kTolerance);
    EXPECT_NEAR(fast.f1, slow.f1, kTolerance);
  }
}

// Wilson's bounds are the p0 at which the score test just rejects: (p - p0)^2 = z^2 p0 (1 - p0) /
// n.
TEST(Metrics, WilsonBoundsSolveTheScoreTest) {
  constexpr double z = 1.959963984540054;
  for (const std::int64_t total : {1, 2, 10, 500, 10000}) {
    for (std::int64_t correct = 0; correct <= total;
         correct += std::max<std::int64_t>(1, total / 7)) {
      const Interval interval = wilson(correct, total);
      const double p = static_cast<double>(correct) / static_cast<double>(total);
      EXPECT_LE(0, interval.low);
      EXPECT_LE(interval.low, p);
      EXPECT_GE(interval.high, p);
      EXPECT_LE(interval.high, 1);
      for (const double bound : {interval.low, interval.high}) {
        EXPECT_NEAR((p - bound) * (p - bound),
                    z * z * bound * (1 - bound) / static_cast<double>(total), kTolerance);
      }
    }
  }
  EXPECT_EQ(wilson(0, 0).low, 0);
  EXPECT_EQ(wilson(0, 0).high, 1);
}

// The standard deviation of a mean of zeros and ones, computed from the zeros and ones.
TEST(Metrics, StandardErrorIsThatOfZerosAndOnes) {
  for (std::int64_t total = 1; total < 40; ++total) {
    for (std::int64_t correct = 0; correct <= total; ++correct) {
      const double mean = static_cast<double>(correct) / static_cast<double>(total);
      double squares = 0;
      for (std::int64_t i = 0; i < total; ++i) squares += std::pow((i < correct) - mean, 2);
      const auto n = static_cast<double>(total);
      EXPECT_NEAR(standard_error(correct, total), std::sqrt(squares / n) / std::sqrt(n),
                  kTolerance);
    }
  }
  EXPECT_EQ(standard_error(0, 0), 0);
}

TEST(Metrics, ForgettingLooksAtTheBestEarlierRowButNotTheLast) {
  const AccuracyMatrix r = {{0.5}, {0.8, 0.6}, {0.7, 0.9, 0.4}};
  EXPECT_NEAR(forgetting(r), ((0.8 - 0.7) + (0.6 - 0.9)) / 2, kTolerance);
  EXPECT_NEAR(backward_transfer(r), ((0.7 - 0.5) + (0.9 - 0.6)) / 2, kTolerance);
  EXPECT_NEAR(backward_transfer_all_pairs(r), (0.3 + 0.2 + 0.3) / 3, kTolerance);
}

TEST(Metrics, UnchangedAccuraciesForgetExactlyNothing) {
  const AccuracyMatrix r = {{0.812}, {0.812, 0.733}, {0.812, 0.733, 0.1}};
  EXPECT_EQ(forgetting(r), 0);
  EXPECT_EQ(backward_transfer(r), 0);
  EXPECT_EQ(backward_transfer_all_pairs(r), 0);
}

TEST(Metrics, RefusesWhatCannotBeScored) {
  using Values = std::vector<std::int64_t>;
  EXPECT_THROW(confusion_matrix(Values{0, 1}, Values{0}, 2), Error);
  EXPECT_THROW(confusion_matrix(Values{0, 2}, Values{0, 0}, 2), Error);
  EXPECT_THROW(confusion_matrix(Values{0, 0}, Values{0, -1}, 2), Error);
  EXPECT_THROW(confusion_matrix(Values{}, Values{}, 0), Error);
  EXPECT_THROW(macro_scores({{1, 0}, {1}}), Error);
  EXPECT_THROW(wilson(3, 2), Error);
  EXPECT_THROW(standard_error(-1, 2), Error);
  EXPECT_THROW(average_accuracy({}), Error);
  EXPECT_THROW(forgetting({{0.5}, {0.5}}), Error);
  EXPECT_THROW(backward_transfer({{0.5, 0.5}}), Error);
}

}  // namespace
}  // namespace cmat::eval
