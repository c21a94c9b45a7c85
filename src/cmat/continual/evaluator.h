// Measures attacks on tasks, one after the other: what `cmat eval` and `cmat attack` have in
// common.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmat/continual/adversarial_file.h"
#include "cmat/continual/chosen_targets.h"
#include "cmat/continual/evaluation_plan.h"
#include "cmat/continual/evaluation_record.h"
#include "cmat/continual/evaluation_store.h"
#include "cmat/continual/evaluation_target.h"
#include "cmat/continual/run.h"
#include "cmat/core/progress.h"

namespace cmat::continual {

/// The images of one task, whoever holds them.
struct Contestants {
  std::int64_t task = 1;
  std::string name;
  std::vector<std::string> class_names;  ///< by the images' own labels
  std::vector<std::int64_t> indices;
  eval::BatchMaker batches;  ///< labels from 0 on, within the task
  Key draws;
};

using MakeAttack = std::function<std::unique_ptr<attack::Attack>(
    const NamedAttack& named, const attack::ThreatModel& threat, std::int64_t classes)>;

struct EvaluatorOptions {
  std::vector<attack::ThreatModel> threats;
  std::vector<NamedAttack> attacks;
  bool clean_listed = true, checks = true;
  bool examples = false;     ///< of the last attack at the last radius
  bool keep_images = false;  ///< for AdversarialImages
  eval::EvalOptions eval;
  std::string curve;
  /// Classes that all attacks are sent to, as the judge counts them.
  ChosenTargets targets;
};

class Evaluator {
 public:
  Evaluator(EvaluatorOptions options, MakeAttack make_attack, EvaluationJournal& journal)
      : options_(std::move(options)), make_attack_(std::move(make_attack)), journal_(journal) {}

  /// Everything about one task. `images` counts what `progress` has to hear of in all.
  void measure(Protocol& protocol, const Contestants& task, Progress& progress);
  /// Images that measure() will report for a task: clean images take no time beside attacks.
  double weight(const Contestants& task, bool with_white_box) const;

  nlohmann::json record(const std::string& protocol) const;
  AdversarialImages& images() { return images_; }
  std::vector<Example>& examples() { return examples_; }

 private:
  struct Job;
  Measurement begin(const Contestants& task, const std::string& asked) const;
  void measure_clean(const Contestants& task, const Target& target);
  void measure(Protocol& protocol, const Contestants& task, const std::vector<Target>& targets,
               const NamedAttack& named, const attack::ThreatModel& threat, bool white_box,
               Progress& progress);
  eval::Verdicts attack(const Contestants& task, const Target& target, attack::Attack& attack,
                        const Job& job, Progress& progress);
  /// Which classes its attacks are sent to; empty: any.
  std::function<at::Tensor(const defense::Batch&)> targets_of(const Target& target) const;
  void keep_clean(const Contestants& task, const std::vector<std::int64_t>& labels);
  void check(const Contestants& task, const Target& target);
  void add_examples(const Contestants& task, const eval::Verdicts& attacked);

  EvaluatorOptions options_;
  MakeAttack make_attack_;
  EvaluationJournal& journal_;
  double done_ = 0;
  std::vector<Measurement> measurements_;
  std::vector<nlohmann::json> findings_;  ///< about the networks themselves
  AdversarialImages images_;
  std::vector<Example> examples_;
  /// For pictures: of each class the first image that is right as it is, and what became of it.
  std::map<std::int64_t, at::Tensor> wanted_;
};

}  // namespace cmat::continual
