// What a report is made of: run folders with what was saved beside them, and comparisons of
// several.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/report/run_view.h"

namespace cmat::report {

/// What `cmat eval --save` left in RUN/evaluations.
struct SavedEvaluation {
  std::string file;
  nlohmann::json record;
  /// The command that makes it again.
  std::string command;
};

struct ReportedRun {
  Records records;
  std::string label;  ///< the folder's name, or what a comparison calls the row
  std::vector<nlohmann::json> events;
  std::vector<SavedEvaluation> evaluations;
  std::vector<std::filesystem::path> pictures;  ///< PNG and SVG in RUN/evaluations
};

struct ReportInputs {
  std::vector<ReportedRun> runs;
  std::vector<nlohmann::json> comparisons;  ///< comparison.json of each
};

/// Throws a usage Error where a folder is neither a run nor a comparison, and where two runs were
/// measured under different protocols.
ReportInputs read_inputs(const std::vector<std::filesystem::path>& folders);

}  // namespace cmat::report
