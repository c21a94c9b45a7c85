#include "cmat/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cmat/core/error.h"
#include "cmat/core/wilson.h"

namespace cmat::eval {
namespace {

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void check_counts(std::int64_t correct, std::int64_t total) {
  if (correct < 0 || correct > total) {
    failure("a score needs counts with 0 <= correct <= total, but got ", correct, " of ", total);
  }
}

Interval wilson_of_share(double p, double n) {
  const WilsonInterval interval = wilson_interval(p, n);
  return {interval.low, interval.high};
}

void check_triangle(const AccuracyMatrix& r) {
  if (r.empty()) failure("an accuracy matrix needs at least one task");
  for (std::size_t i = 0; i < r.size(); ++i) {
    if (r[i].size() != i + 1) {
      failure("row ", i + 1, " of an accuracy matrix needs ", i + 1, " entries, but has ",
              r[i].size());
    }
  }
}

}  // namespace

Confusion confusion_matrix(std::span<const std::int64_t> labels,
                           std::span<const std::int64_t> predictions, std::int64_t classes) {
  if (labels.size() != predictions.size()) {
    failure("there are ", labels.size(), " labels but ", predictions.size(), " predictions");
  }
  if (classes <= 0) failure("a confusion matrix needs at least one class, but got ", classes);
  const auto n = static_cast<std::size_t>(classes);
  Confusion counts(n, std::vector<std::int64_t>(n, 0));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (const std::int64_t value : {labels[i], predictions[i]}) {
      if (value < 0 || value >= classes) {
        failure("class ", value, " of image ", i, " is not among the ", classes, " classes");
      }
    }
    ++counts[static_cast<std::size_t>(labels[i])][static_cast<std::size_t>(predictions[i])];
  }
  return counts;
}

MacroScores macro_scores(const Confusion& confusion) {
  const std::size_t classes = confusion.size();
  MacroScores scores;
  if (classes == 0) return scores;
  std::int64_t right = 0, total = 0;
  for (std::size_t k = 0; k < classes; ++k) {
    if (confusion[k].size() != classes) failure("a confusion matrix must be square");
    const std::int64_t hits = confusion[k][k];
    const std::int64_t labelled =
        std::accumulate(confusion[k].begin(), confusion[k].end(), std::int64_t{0});
    std::int64_t predicted = 0;
    for (const auto& row : confusion) predicted += row.at(k);
    scores.precision += ratio(hits, predicted);
    scores.recall += ratio(hits, labelled);
    // 2PR/(P+R) in counts, so that 0/0 can only mean: the class occurs nowhere.
    scores.f1 += ratio(2 * hits, labelled + predicted);
    right += hits;
    total += labelled;
  }
  const auto n = static_cast<double>(classes);
  scores.accuracy = ratio(right, total);
  scores.precision /= n;
  scores.recall /= n;
  scores.f1 /= n;
  return scores;
}

Interval wilson(std::int64_t correct, std::int64_t total) {
  check_counts(correct, total);
  if (total == 0) return {0, 1};
  return wilson_of_share(static_cast<double>(correct) / static_cast<double>(total),
                         static_cast<double>(total));
}

MeanAccuracy mean_accuracy(std::span<const Counts> tasks) {
  if (tasks.empty()) failure("a mean over tasks needs at least one task");
  double sum = 0, inverse = 0;
  for (const Counts& task : tasks) {
    check_counts(task.correct, task.total);
    if (task.total == 0) failure("a mean over tasks needs images of every task");
    sum += ratio(task.correct, task.total);
    inverse += 1 / static_cast<double>(task.total);
  }
  const auto n = static_cast<double>(tasks.size());
  const double mean = std::min(sum / n, 1.0);
  return {mean, wilson_of_share(mean, n * n / inverse)};
}

double standard_error(std::int64_t correct, std::int64_t total) {
  check_counts(correct, total);
  const double p = ratio(correct, total);
  return total == 0 ? 0 : std::sqrt(p * (1 - p) / static_cast<double>(total));
}

double average_accuracy(const AccuracyMatrix& r) {
  check_triangle(r);
  const auto& last = r.back();
  return std::accumulate(last.begin(), last.end(), 0.0) / static_cast<double>(last.size());
}

double backward_transfer(const AccuracyMatrix& r) {
  check_triangle(r);
  const std::size_t older = r.size() - 1;
  if (older == 0) return 0;
  double sum = 0;
  for (std::size_t j = 0; j < older; ++j) sum += r.back()[j] - r[j][j];
  return sum / static_cast<double>(older);
}

double backward_transfer_all_pairs(const AccuracyMatrix& r) {
  check_triangle(r);
  if (r.size() == 1) return 0;
  double sum = 0;
  for (std::size_t i = 1; i < r.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) sum += r[i][j] - r[j][j];
  }
  return sum / (static_cast<double>(r.size() * (r.size() - 1)) / 2);
}

double forgetting(const AccuracyMatrix& r) {
  check_triangle(r);
  const std::size_t older = r.size() - 1;
  if (older == 0) return 0;
  double sum = 0;
  for (std::size_t j = 0; j < older; ++j) {
    double best = r[j][j];
    for (std::size_t l = j + 1; l < older; ++l) best = std::max(best, r[l][j]);
    sum += best - r.back()[j];
  }
  return sum / static_cast<double>(older);
}

}  // namespace cmat::eval
