// Scores from counts, without a tensor library. Conventions and golden values:
// tests/golden/metrics.json.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cmat::eval {

/// counts[true][predicted]
using Confusion = std::vector<std::vector<std::int64_t>>;

Confusion confusion_matrix(std::span<const std::int64_t> labels,
                           std::span<const std::int64_t> predictions, std::int64_t classes);

/// Macro averages over ALL classes; 0/0 is 0.
struct MacroScores {
  double accuracy = 0, precision = 0, recall = 0, f1 = 0;
};
MacroScores macro_scores(const Confusion& confusion);

struct Interval {
  double low = 0, high = 0;
};
/// Wilson's score interval at 95% (z = 1.959963984540054) for correct out of total; [0,1] for total
/// 0.
Interval wilson(std::int64_t correct, std::int64_t total);
struct Counts {
  std::int64_t correct = 0, total = 0;
};
struct MeanAccuracy {
  double accuracy = 0;
  Interval interval;
};
/// Mean of correct / total, every task counting the same. The interval is Wilson's for as many
/// images as give one proportion the variance of this mean where all tasks are equally hard:
/// T^2 / sum(1 / total), which is all images where the tasks have equally many. A failure for no
/// task or one without images.
MeanAccuracy mean_accuracy(std::span<const Counts> tasks);
/// sqrt(p (1-p) / n); 0 for n = 0.
double standard_error(std::int64_t correct, std::int64_t total);

/// R[i][j]: accuracy on task j after task i was learned, j <= i (lower triangle; row i has i+1
/// entries).
using AccuracyMatrix = std::vector<std::vector<double>>;

/// Mean of the last row.
double average_accuracy(const AccuracyMatrix& r);
/// GEM: mean over i < T of R_Ti - R_ii. 0 for one task.
double backward_transfer(const AccuracyMatrix& r);
/// Mean over all i > j of R_ij - R_jj (Diaz-Rodriguez et al.). 0 for one task.
double backward_transfer_all_pairs(const AccuracyMatrix& r);
/// Chaudhry et al.: mean over j < T of max_{j <= l < T} R_lj - R_Tj. 0 for one task.
double forgetting(const AccuracyMatrix& r);

}  // namespace cmat::eval
