// Accuracies and their intervals, as the sections of a report show them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cmat/report/page/figure.h"
#include "cmat/report/page/inputs.h"

namespace cmat::report {

inline constexpr const char* image_intervals =
    "95% intervals (Wilson) from the number of test images alone; one seed a run.";

/// A share in [0,1]; both ends of its interval, or neither.
struct Mean {
  double value = 0;
  std::optional<double> low, high;
};

/// With the ends that a record's field `interval` holds, [low, high]; without where it does not.
Mean mean_of(double value, const Field& interval);
/// Over the tasks learned, with Wilson's interval as `cmat eval` computes it: of T^2 / sum(1/n)
/// images, which is all of them where the tasks have equally many. None where it was not measured.
std::optional<Mean> own_mean(const RunView& view, const std::string& attack);
/// "[79.0, 83.0]", in percent.
std::string interval_text(const Mean& mean);

/// A share as percent, for a figure.
inline double in_percent(double share) { return 100 * share; }
Point point_of(double x, const Mean& mean);
/// Its y axis runs from 0 to 100 percent.
Chart accuracy_chart(const std::string& x_label,
                     const std::string& y_label = "accuracy, mean over the tasks, %");
/// Draws a line at the accuracy of guessing, if it is known.
void mark_chance(Chart& chart, std::optional<double> chance);

/// What the runs were measured under, each once.
std::vector<std::string> all_attacks(const ReportInputs& inputs);

}  // namespace cmat::report
