// What verdicts can carry: intervals and tests of mean accuracies over runs and images.
//
// Two things vary: the training run (its seed) and the test image. Both are resampled (Efron and
// Tibshirani 1993; crossed as in Owen 2007): a resample draws runs, and draws images of every task.
// All runs get the same drawn images, because a hard image is hard for all of them; to draw images
// anew for each run, as a nested bootstrap does, would make intervals too short. Rows that are
// compared share the drawn images and, where they were trained from the same seeds, the drawn runs.
// Runs that judged different images show in their differences what images do, and only runs are
// drawn. Few runs vary less in a resample than in truth, by (n - 1) / n; their deviations are
// stretched by sqrt(n / (n - 1)). With one run the interval speaks of images only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cmat::compare {

/// The test images of one task, in one order for all runs, and which of them were classified right.
struct TaskOutcome {
  std::vector<std::int64_t> images;
  std::vector<bool> right;
};

/// One run under one attack.
struct RunOutcome {
  std::int64_t seed = 0;
  std::vector<TaskOutcome> tasks;  ///< each counts the same in a mean, however many images it has
  double accuracy() const;
};
using Outcomes = std::vector<RunOutcome>;  ///< the runs of a row; REQUIRES the same tasks in all

struct Interval95 {
  double low = 0, high = 0;
};

struct Mean {
  double accuracy = 0;
  double spread = 0;  ///< standard deviation over runs (n - 1); 0 with one run
  Interval95 interval;
};

/// `resamples` resampled differences of mean accuracy, a - b, sorted.
std::vector<double> resampled_differences(const Outcomes& a, const Outcomes& b,
                                          std::int64_t resamples, std::uint64_t seed);
Mean bootstrap_mean(const Outcomes& row, std::int64_t resamples, std::uint64_t seed);

double mean_accuracy(const Outcomes& row);
/// The middle 95% of sorted values.
Interval95 middle(std::span<const double> sorted);

/// P-values from sorted resampled differences, (count + 1) / (resamples + 1).
double p_difference(std::span<const double> sorted);                ///< two-sided, against 0
double p_not_worse(std::span<const double> sorted, double margin);  ///< of "at most -margin"
/// The larger of two one-sided tests (Schuirmann 1987), against "at least `margin` apart".
double p_equivalent(std::span<const double> sorted, double margin);

/// Holm (1979): p-values that keep the chance of any false rejection, in the order given.
std::vector<double> holm(std::span<const double> p);

}  // namespace cmat::compare
