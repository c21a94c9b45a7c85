#include "cmat/compare/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cmat/core/error.h"
#include "cmat/core/random.h"

namespace cmat::compare {
namespace {

/// Whether every run of both rows judged the same images.
bool same_images(const std::vector<const Outcomes*>& rows) {
  const RunOutcome& first = rows.front()->front();
  for (const Outcomes* row : rows) {
    for (const RunOutcome& run : *row) {
      if (run.tasks.size() != first.tasks.size()) return false;
      for (std::size_t t = 0; t < run.tasks.size(); ++t)
        if (run.tasks[t].images != first.tasks[t].images) return false;
    }
  }
  return true;
}

bool same_seeds(const Outcomes& a, const Outcomes& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const RunOutcome& x, const RunOutcome& y) { return x.seed == y.seed; });
}

/// How often each of n things is drawn in n draws.
void draw(Random& random, std::size_t n, std::vector<std::int32_t>& counts) {
  counts.assign(n, 0);
  for (std::size_t i = 0; i < n; ++i) ++counts[random.below(n)];
}

using Counts = std::vector<std::vector<std::int32_t>>;  ///< of the images of each task

void draw_images(Random& random, const RunOutcome& run, Counts& counts) {
  counts.resize(run.tasks.size());
  for (std::size_t t = 0; t < counts.size(); ++t)
    draw(random, run.tasks[t].images.size(), counts[t]);
}

/// Of a run with images of its own: as they are, since how runs differ shows how images do; but a
/// run that is alone shows nothing, so there they are drawn.
void choose_images(Random& random, const RunOutcome& run, bool alone, Counts& counts) {
  if (alone) return draw_images(random, run, counts);
  counts.clear();
  for (const TaskOutcome& task : run.tasks) counts.emplace_back(task.images.size(), 1);
}

double accuracy_of(const RunOutcome& run, const Counts& counts) {
  double sum = 0;
  for (std::size_t t = 0; t < counts.size(); ++t) {
    const std::vector<bool>& right = run.tasks[t].right;
    std::int64_t correct = 0;
    for (std::size_t i = 0; i < right.size(); ++i) correct += right[i] ? counts[t][i] : 0;
    sum += static_cast<double>(correct) / static_cast<double>(right.size());
  }
  return sum / static_cast<double>(counts.size());
}

/// The mean over drawn runs, its distance from the mean over all runs stretched to full width.
double stretched(const std::vector<double>& runs, const std::vector<std::int32_t>& drawn) {
  const auto n = static_cast<double>(runs.size());
  const double mean = std::accumulate(runs.begin(), runs.end(), 0.0) / n;
  if (runs.size() == 1) return mean;
  double sum = 0;
  for (std::size_t r = 0; r < runs.size(); ++r) sum += runs[r] * drawn[r];
  return mean + std::sqrt(n / (n - 1)) * (sum / n - mean);
}

/// Resampled means of one or two rows, one vector a resample.
std::vector<std::vector<double>> resample(const std::vector<const Outcomes*>& rows,
                                          std::int64_t resamples, std::uint64_t seed) {
  const bool images_shared = same_images(rows);
  const bool runs_shared = rows.size() == 2 && same_seeds(*rows[0], *rows[1]);
  std::vector<std::vector<double>> result;
  Counts images;
  std::vector<std::int32_t> runs;
  std::vector<double> accuracies;
  for (std::int64_t i = 0; i < resamples; ++i) {
    Random random(
        {.seed = seed, .sample = static_cast<std::uint64_t>(i), .purpose = Purpose::bootstrap});
    if (images_shared) draw_images(random, rows.front()->front(), images);
    std::vector<double> means;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (r == 0 || !runs_shared) draw(random, rows[r]->size(), runs);
      accuracies.clear();
      for (const RunOutcome& run : *rows[r]) {
        if (!images_shared) choose_images(random, run, rows[r]->size() == 1, images);
        accuracies.push_back(accuracy_of(run, images));
      }
      means.push_back(stretched(accuracies, runs));
    }
    result.push_back(std::move(means));
  }
  return result;
}

/// (how many of `sorted` are at most `limit` + 1) / (all + 1)
double share_at_most(std::span<const double> sorted, double limit) {
  const auto below = std::upper_bound(sorted.begin(), sorted.end(), limit) - sorted.begin();
  return static_cast<double>(below + 1) / static_cast<double>(sorted.size() + 1);
}

double share_at_least(std::span<const double> sorted, double limit) {
  const auto above = sorted.end() - std::lower_bound(sorted.begin(), sorted.end(), limit);
  return static_cast<double>(above + 1) / static_cast<double>(sorted.size() + 1);
}

void check(const Outcomes& row) {
  if (row.empty()) failure("a row without runs has no accuracy");
  for (const RunOutcome& run : row) {
    if (run.tasks.empty() || run.tasks.size() != row.front().tasks.size())
      failure("the runs of a row were not evaluated on the same tasks");
  }
}

}  // namespace

double RunOutcome::accuracy() const {
  double sum = 0;
  for (const TaskOutcome& task : tasks) {
    sum += static_cast<double>(std::count(task.right.begin(), task.right.end(), true)) /
           static_cast<double>(task.right.size());
  }
  return sum / static_cast<double>(tasks.size());
}

double mean_accuracy(const Outcomes& row) {
  double sum = 0;
  for (const RunOutcome& run : row) sum += run.accuracy();
  return sum / static_cast<double>(row.size());
}

Interval95 middle(std::span<const double> sorted) {
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(sorted.size() - 1);
    return sorted[static_cast<std::size_t>(std::lround(place))];
  };
  return {at(0.025), at(0.975)};
}

std::vector<double> resampled_differences(const Outcomes& a, const Outcomes& b,
                                          std::int64_t resamples, std::uint64_t seed) {
  check(a);
  check(b);
  std::vector<double> differences;
  for (const auto& means : resample({&a, &b}, resamples, seed))
    differences.push_back(means[0] - means[1]);
  std::sort(differences.begin(), differences.end());
  return differences;
}

Mean bootstrap_mean(const Outcomes& row, std::int64_t resamples, std::uint64_t seed) {
  check(row);
  std::vector<double> sorted;
  for (const auto& means : resample({&row}, resamples, seed)) sorted.push_back(means[0]);
  std::sort(sorted.begin(), sorted.end());
  Mean result{mean_accuracy(row), 0, middle(sorted)};
  result.interval = {std::max(0.0, result.interval.low), std::min(1.0, result.interval.high)};
  if (row.size() == 1) return result;
  double squares = 0;
  for (const RunOutcome& run : row) squares += std::pow(run.accuracy() - result.accuracy, 2);
  result.spread = std::sqrt(squares / static_cast<double>(row.size() - 1));
  return result;
}

double p_difference(std::span<const double> sorted) {
  return std::min(1.0, 2 * std::min(share_at_most(sorted, 0), share_at_least(sorted, 0)));
}

double p_not_worse(std::span<const double> sorted, double margin) {
  return share_at_most(sorted, -margin);
}

double p_equivalent(std::span<const double> sorted, double margin) {
  return std::max(share_at_most(sorted, -margin), share_at_least(sorted, margin));
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(p.size() - i) * p[order[i]]));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

}  // namespace cmat::compare
