// The evaluation phase of a run, and results.json.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "cmat/continual/setup.h"

namespace cmat::continual {

/// Measures every task learned so far, clean and under the evaluation attack, and adds the rows to
/// the state. Tasks whose certificate still holds are not attacked again: the attack is
/// deterministic, so its outcome is the one on record (basis "identical"). Returns the verdict
/// lines to be stored. `progress` hears what is being done.
std::string evaluate_tasks(Setup& setup, train::RunState& state,
                           const std::function<void(const std::string& label)>& progress);

/// One row of results.json's per_task, with confusion matrix and scores.
nlohmann::json score_row(std::int64_t task, const std::string& attack,
                         const std::vector<std::int64_t>& labels,
                         const std::vector<std::int64_t>& predictions, std::int64_t classes);

nlohmann::json threat_json(const attack::ThreatModel& threat);

/// The whole of results.json.
nlohmann::json results_json(const Setup& setup, const train::RunState& state);

}  // namespace cmat::continual
