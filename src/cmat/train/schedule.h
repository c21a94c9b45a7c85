// Learning rates and the pruning ramp. Golden values: tests/golden/schedules.json, pruning.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cmat/core/config.h"

namespace cmat::train {

enum class ScheduleKind { constant, cosine, multistep };

struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double lr = 0.1;      ///< peak
  double warmup = 0.0;  ///< share of the steps with a linear rise (cosine, constant)
  std::vector<std::int64_t> milestones;  ///< multistep: epochs at which lr is multiplied by gamma
  double gamma = 0.1;

  /// Learning rate of optimiser step `step` (0-based) of `steps`, in epoch `epoch`.
  /// Warm-up of W steps: lr (step+1)/W. Cosine: lr (1 + cos(pi (step-W)/(steps-W))) / 2.
  double at(std::int64_t step, std::int64_t steps, std::int64_t epoch) const;
};

/// Reads PREFIX.lr, PREFIX.schedule, PREFIX.warmup, PREFIX.milestones, PREFIX.gamma.
Schedule read_schedule(Config& config, const std::string& prefix, const Schedule& defaults);

/// Cubic ramp from `start` at step 0 to `end` at step `steps` (Zhu and Gupta, 2017):
/// end + (start - end)(1 - step/steps)^3; `end` from there on, and at once when steps is 0.
double pruning_ratio(double start, double end, std::int64_t step, std::int64_t steps);

}  // namespace cmat::train
