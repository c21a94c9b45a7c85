// The tables of `cmat inspect`.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace cmat::report {

/// From the JSON that `cmat inspect --json` prints (docs/export.md lists its fields): tasks, layers
/// by owner, and who picks from whom.
std::string show_inspection(const nlohmann::json& inspection);

}  // namespace cmat::report
