// Runs one training stage of the active task, from wherever the state says it stands.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "cmat/data/stream.h"
#include "cmat/defense/objective.h"
#include "cmat/eval/robust_eval.h"
#include "cmat/train/batch_feed.h"
#include "cmat/train/model.h"
#include "cmat/train/run_state.h"
#include "cmat/train/settings.h"

namespace cmat::train {

/// Images a step: optimizer.batch, or all of a smaller task.
std::int64_t batch_size(const Settings& settings, const data::Task& task);
/// A last partial batch would give noisy norm statistics, so it is dropped.
std::int64_t steps_per_epoch(const Settings& settings, const data::Task& task);

/// What the runner tells its caller; any may be empty.
struct StageHooks {
  /// After each optimiser step, when the state is complete. Returns true to stop here.
  std::function<bool()> after_step;
  /// After each epoch.
  std::function<void(const nlohmann::json& event)> on_event;
};

class StageRunner {
 public:
  StageRunner(const Settings& settings, const data::Stream& stream, defense::Objective& objective,
              Model& model, RunState& state, StageHooks hooks);

  /// Sets the state to the first step of `stage`: accepted weights, cleared moments, fixed
  /// candidates.
  void start(const StageSpec& stage);

  enum class Result { finished, stopped };
  /// Trains until the stage ends (then `outcome` is filled, averages are adopted and state.stage is
  /// cleared) or a hook stops it. A non-finite loss starts the stage again from the accepted
  /// weights at half the learning rate, three times at most.
  Result run(StageOutcome& outcome);

  /// Sets fresh norm statistics from a few batches, so that an eval-mode attack has something to
  /// attack in the first steps.
  void warm_up_norms();

  std::int64_t steps_per_epoch() const;

 private:
  const data::Task& task() const;
  bool heads_of_tasks() const;
  const StageSettings& settings_of(const StageSpec& stage) const;
  Key key(std::int64_t epoch) const;
  defense::Batch next_batch();
  /// The objective's, with batch.labels as the head that it was asked of counts them.
  defense::StepLoss step_loss(defense::Batch& batch);
  bool train_step(defense::Batch batch);
  void prune_if_due();
  std::int64_t ramp_begin() const;
  std::int64_t ramp_end() const;
  void end_epoch();
  /// Validates the epoch where the best one is to be kept; `accepted` if it is the best so far.
  std::optional<StageOutcome> consider_best();
  StageOutcome validate();
  /// On validation images; of tasks that are learned jointly with a head each, task by task.
  eval::Verdicts validation_verdicts(attack::Attack* attack);
  void retry();
  bool weights_are_finite() const;

  const Settings& settings_;
  const data::Stream& stream_;
  defense::Objective& objective_;
  Model& model_;
  RunState& state_;
  StageHooks hooks_;
  std::unique_ptr<attack::Attack> validation_attack_;
  std::optional<BatchFeed> feed_;  ///< of the stage that runs; made when its first batch is wanted
};

}  // namespace cmat::train
