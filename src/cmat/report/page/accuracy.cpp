#include "cmat/report/page/accuracy.h"

#include <algorithm>

#include "cmat/core/wilson.h"
#include "cmat/report/wording.h"

namespace cmat::report {

Mean mean_of(double value, const Field& interval) {
  Mean mean{value, {}, {}};
  const std::vector<Field> ends = interval.items();
  if (ends.size() == 2) mean.low = ends[0].number(), mean.high = ends[1].number();
  return mean;
}

std::optional<Mean> own_mean(const RunView& view, const std::string& attack) {
  const auto value = view.summary(attack)["average"].number();
  if (!value) return {};
  double tasks = 0, inverse = 0;
  for (const Measurement& each : view.measurements()) {
    if (each.attack != attack || each.after != view.learned() || each.total < 1) continue;
    tasks += 1;
    inverse += 1 / static_cast<double>(each.total);
  }
  if (tasks == 0) return Mean{*value, {}, {}};
  // A record that somebody changed may hold anything.
  const WilsonInterval interval =
      wilson_interval(std::clamp(*value, 0.0, 1.0), tasks * tasks / inverse);
  return Mean{*value, interval.low, interval.high};
}

std::string interval_text(const Mean& mean) { return percent_interval(mean.low, mean.high); }

Point point_of(double x, const Mean& mean) {
  Point p{x, in_percent(mean.value), {}, {}};
  if (mean.low && mean.high) p.low = in_percent(*mean.low), p.high = in_percent(*mean.high);
  return p;
}

Chart accuracy_chart(const std::string& x_label, const std::string& y_label) {
  Chart chart;
  chart.x_label = x_label;
  chart.y_label = y_label;
  chart.y_low = 0;
  chart.y_high = 100;
  return chart;
}

void mark_chance(Chart& chart, std::optional<double> chance) {
  if (!chance) return;
  chart.reference = in_percent(*chance);
  chart.reference_label = "chance";
}

std::vector<std::string> all_attacks(const ReportInputs& inputs) {
  std::vector<std::string> attacks;
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    for (const std::string& attack : view.attacks()) {
      if (std::find(attacks.begin(), attacks.end(), attack) == attacks.end())
        attacks.push_back(attack);
    }
  }
  return attacks;
}

}  // namespace cmat::report
