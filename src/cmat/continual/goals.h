// The goals of growth: what each task reached in another run, say in a network of its own.
#pragma once

#include <filesystem>
#include <vector>

#include "cmat/data/stream.h"

namespace cmat::continual {

/// Robust validation accuracy of each task of `stream` in the run `folder`, after the last stage
/// that the run accepted; tasks are found by name. Throws a usage Error when the folder is not a
/// run, or has not finished a task of that name with validation images.
std::vector<double> goals_of(const std::filesystem::path& folder, const data::Stream& stream);

}  // namespace cmat::continual
