// What the runs of a comparison came to, read back from its folder, and the tables made of it.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/compare/plan.h"
#include "cmat/compare/statistics.h"

namespace cmat::compare {

/// OUT/rows/NAME, an ordinary run folder.
std::filesystem::path run_folder(const std::filesystem::path& out, const PlannedRun& run);
/// Of the run whose weights it begins with.
std::filesystem::path source_folder(const std::filesystem::path& out, const PlannedRun& run);
/// Beside it: how its last try ended and what was asked for.
std::filesystem::path status_file(const std::filesystem::path& out, const PlannedRun& run);
/// In it: what `cmat eval --json` said.
std::filesystem::path evaluation_file(const std::filesystem::path& out, const PlannedRun& run);

/// How a run stands: "pending", "failed" (with the reason), or "done", which is so only if what was
/// asked for then is what the plan asks for now. Throws a usage Error if it is not.
struct RunStatus {
  std::string status = "pending", reason;
  double seconds = 0;
};
RunStatus read_status(const std::filesystem::path& out, const Plan& plan, const Row& row,
                      const PlannedRun& run);
/// What decides a run's numbers, for the status file.
nlohmann::json request_of(const Plan& plan, const Row& row, const PlannedRun& run);

/// One finished run.
struct RunResult {
  std::vector<RunOutcome> attacks;  ///< in the order of the plan
  std::vector<std::string> names;   ///< what ran, "AA-standard[C=5,t=4]"
  double chance = 0;                ///< mean over tasks
  double passes = 0;                ///< images forward and backward in training
  double source_passes = 0;         ///< likewise, of the run before it
  std::string protocol, threat_model, method, objective;
  std::vector<std::string> warnings;  ///< checks that the evaluation raised
};
RunResult read_result(const std::filesystem::path& out, const Plan& plan, const Row& row,
                      const PlannedRun& run);

/// comparison.json (docs/run-format.md): the rows and how they stand, one table entry for each row
/// and attack with finished runs, the contrasts that can be tested, and warnings.
nlohmann::json comparison_record(const std::filesystem::path& out, const Plan& plan);

/// The same for people.
std::string comparison_text(const nlohmann::json& record);

}  // namespace cmat::compare
