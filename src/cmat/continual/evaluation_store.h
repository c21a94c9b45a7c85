// Where an evaluation is kept: RUN/evaluations/NAME.json, and beside it a journal while it runs,
// from which an interrupted one goes on.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "cmat/eval/robust_eval.h"

namespace cmat::continual {

/// A file name of what is asked: "task-aware-linf-eps8of255-clean+apgd-ce+apgd-t". Long ones are
/// cut and end in a digest, so that two questions never share a file.
std::string evaluation_name(const nlohmann::json& identity);

/// The verdicts of an evaluation group by group, on disk as soon as they are there.
class EvaluationJournal {
 public:
  /// No journal: nothing is kept and nothing is found.
  EvaluationJournal() = default;
  /// Reads what an interrupted evaluation with the same identity left in `file`; one of another
  /// identity, or a line cut short, is dropped. `identity` holds all that a verdict depends on.
  EvaluationJournal(std::filesystem::path file, const nlohmann::json& identity);

  /// What is there of one measurement, whose verdicts may be all of its images or the first ones.
  eval::Verdicts find(const std::string& measurement) const;
  std::int64_t images() const { return images_; }  ///< that were found in the file
  void add(const std::string& measurement, const eval::Verdicts& so_far);
  void remove();  ///< the evaluation is complete

 private:
  std::filesystem::path file_;
  std::map<std::string, eval::Verdicts> found_;
  std::int64_t images_ = 0;
};

}  // namespace cmat::continual
