// What the tables ask of a run's records, whatever part of them is there yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmat/report/fields.h"
#include "cmat/report/records.h"

namespace cmat::report {

struct Measurement {
  std::int64_t after = 0, task = 0, correct = 0, total = 0;
  std::string attack;
  bool identical = false;  ///< not measured again: the network's function was proven unchanged
};

/// Refers to the records, which must outlive it.
class RunView {
 public:
  explicit RunView(const Records& records);

  const Field& run() const { return run_; }
  const Field& results() const { return results_; }
  const std::vector<Measurement>& measurements() const { return measurements_; }

  /// The folder's own name.
  std::string label() const;
  /// Everything accuracy was measured under, "clean" first.
  const std::vector<std::string>& attacks() const { return attacks_; }
  /// How many tasks have been learned and evaluated, and how many the records name.
  std::int64_t learned() const { return learned_; }
  std::int64_t named_tasks() const;
  std::vector<std::string> task_names() const;
  /// Accuracy of guessing, mean over the learned tasks.
  std::optional<double> mean_chance() const;

  Field summary(const std::string& attack) const { return results_["summary"][attack]; }
  /// Entry of per_task, or an absent field.
  Field per_task(std::int64_t task, const std::string& attack) const;
  /// As it stands after the last task learned.
  std::optional<double> accuracy(std::int64_t task, const std::string& attack) const;
  std::string recipe(const std::string& attack) const;
  /// "1,000 images a task", "400 to 1,000 images a task", or "" when the records do not say.
  std::string denominators(const std::string& attack) const;
  /// True when every later look at an earlier task was proven identical, to the bit, and there was
  /// one.
  bool nothing_changed(const std::string& attack) const;
  /// Forgetting in points, "0 (identical)" where it is proven, "-" while there is nothing to
  /// forget.
  std::string forgetting(const std::string& attack) const;

  /// "Linf, eps 0.0313725 (8/255)"; "" when the records do not say.
  std::string threat_model() const;
  /// "resnet8, width 0.5"; the width only where it is not 1.
  std::string network() const;
  std::string bytes() const;

 private:
  void read_measurements();
  void collect_attacks();

  std::string folder_;
  Field run_, results_;
  std::vector<Measurement> measurements_;
  std::vector<std::string> attacks_;
  std::int64_t learned_ = 0;
};

}  // namespace cmat::report
