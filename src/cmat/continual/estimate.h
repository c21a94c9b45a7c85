// What a run will cost, measured on a scratch network before it starts.
#pragma once

#include <cstdint>

#include "cmat/continual/setup.h"

namespace cmat::continual {

struct Estimate {
  std::int64_t steps = 0;   ///< optimiser steps of the whole run
  double seconds = 0;       ///< training and evaluation
  double memory_bytes = 0;  ///< resident
  double disk_bytes = 0;    ///< two checkpoints and the model
};

/// Optimiser steps of tasks from `first_task` (1-based) on, if every stage runs once.
std::int64_t planned_steps(const Setup& setup, std::int64_t first_task);

/// For the tasks from `first_task` (1-based) on. Times one optimiser step; leaves the setup as it
/// was.
Estimate estimate(Setup& setup, std::int64_t first_task);

}  // namespace cmat::continual
