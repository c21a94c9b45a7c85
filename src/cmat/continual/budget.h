// The widest network that fits into a number of bytes, for the bound `small`: a network of its own
// for each task, all of them together as large as one continual network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "cmat/core/config.h"
#include "cmat/nn/description.h"

namespace cmat::continual {

/// Bytes that a model with a network of its own for each task stores: all parameters and buffers,
/// one head of `classes[t]` for task t; what results.json calls bytes.total.
std::int64_t stored_bytes(const nn::Description& network, const std::vector<std::int64_t>& classes);

/// The greatest width, in 1024ths, whose networks take at most `budget` bytes. A usage Error when
/// the narrowest take more.
double width_within(std::int64_t budget, nn::NetworkOptions network,
                    const std::vector<std::int64_t>& classes);

/// Where a config with method.name = "small" names method.budget_run and no method.budget: sets the
/// latter to the bytes of that finished run, so that the run is read once.
void resolve_budget(Config& config);

}  // namespace cmat::continual
