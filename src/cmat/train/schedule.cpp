#include "cmat/train/schedule.h"

#include <cmath>
#include <numbers>

namespace cmat::train {

double Schedule::at(std::int64_t step, std::int64_t steps, std::int64_t epoch) const {
  if (kind == ScheduleKind::multistep) {
    double value = lr;
    for (std::int64_t milestone : milestones) {
      if (epoch >= milestone) value *= gamma;
    }
    return value;
  }
  const auto warm = static_cast<std::int64_t>(std::llround(warmup * static_cast<double>(steps)));
  if (step < warm) return lr * static_cast<double>(step + 1) / static_cast<double>(warm);
  if (kind == ScheduleKind::constant || steps <= warm) return lr;
  const double t = static_cast<double>(step - warm) / static_cast<double>(steps - warm);
  return lr * (1 + std::cos(std::numbers::pi * t)) / 2;
}

Schedule read_schedule(Config& config, const std::string& prefix, const Schedule& defaults) {
  Schedule s;
  s.lr = config.number(prefix + ".lr", defaults.lr, 1e-12, 100);
  const std::string kind = config.string(prefix + ".schedule",
                                         defaults.kind == ScheduleKind::constant    ? "constant"
                                         : defaults.kind == ScheduleKind::multistep ? "multistep"
                                                                                    : "cosine",
                                         {"constant", "cosine", "multistep"});
  s.kind = kind == "constant"    ? ScheduleKind::constant
           : kind == "multistep" ? ScheduleKind::multistep
                                 : ScheduleKind::cosine;
  s.warmup = config.number(prefix + ".warmup", defaults.warmup, 0, 1);
  s.milestones = config.integers(prefix + ".milestones", defaults.milestones);
  s.gamma = config.number(prefix + ".gamma", defaults.gamma, 0, 1);
  return s;
}

double pruning_ratio(double start, double end, std::int64_t step, std::int64_t steps) {
  if (step >= steps) return end;
  const double left = 1 - static_cast<double>(step) / static_cast<double>(steps);
  return end + (start - end) * left * left * left;
}

}  // namespace cmat::train
