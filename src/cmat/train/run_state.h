// Where a run stands, complete between any two optimiser steps: with the model it is all that a
// checkpoint holds, and all that continuing needs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cmat/core/tensor_file.h"

namespace cmat::train {

/// One training stage of one task.
struct StageSpec {
  std::string kind;         ///< train, compact or repick: which settings it uses
  std::int64_t number = 1;  ///< position among the task's stages; names its random draws
  std::int64_t epochs = 0;
  double ratio = 0;        ///< compact: share of the candidates (own + free) that end up free
  double start_ratio = 0;  ///< compact: the share that is free already
  bool one_shot = false;   ///< compact: all at once, at the ramp's end (PackNet)
  double width = 0;        ///< train: grow to this width first; 0: stay
  double lr_scale = 1;     ///< halved by each retry after a non-finite loss
};

/// What came of a stage. `losses` are the robust validation losses, image by image, so that any two
/// outcomes of a task can be compared in pairs.
struct StageOutcome {
  StageSpec stage;
  std::vector<double> losses;
  double clean_accuracy = 0, robust_accuracy = 0, loss = 0;
  bool accepted = false;
  std::string reason;
};

/// A committed task's certificate.
struct Certificate {
  std::string weight_digest;        ///< portable: effective weights, norm layers, head
  std::string logits_digest;        ///< of the probe images' logits, for `logits_key`
  std::string logits_key;           ///< threads, batch, device, build: where that digest must match
  std::vector<std::int64_t> probe;  ///< indices into the source's test images
};

struct RunState {
  enum class Phase { begin_task, stages, evaluate, finished };
  Phase phase = Phase::begin_task;
  std::int64_t task = 1;  ///< 1-based: being learned, or to be evaluated

  // The active task.
  std::vector<StageOutcome> history;
  std::optional<StageSpec> stage;    ///< running
  std::int64_t epoch = 0, step = 0;  ///< next epoch and next step in it
  double loss_sum = 0;               ///< of the unfinished epoch
  std::int64_t correct = 0, seen = 0;
  std::int64_t retries = 0;
  double best_loss = 0;       ///< of the epoch kept in `best`
  TensorFile accepted, best;  ///< Model::snapshot; `best` empty: none yet
  TensorFile objective;       ///< Objective::save, as of the last checkpoint

  // All tasks.
  double width = 0;           ///< of the network, as accepted so far; 0: as the config says
  std::vector<double> goals;  ///< growth.goal_run: robust validation accuracy, one a task
  std::vector<Certificate> certificates;
  nlohmann::json evaluations = nlohmann::json::array();  ///< as in results.json
  nlohmann::json scores = nlohmann::json::array();       ///< results.json's per_task
  nlohmann::json weights = nlohmann::json::array();      ///< results.json's weights
  std::int64_t steps_done = 0;                           ///< optimiser steps of the whole run
  std::int64_t forwards = 0, backwards = 0;
  std::uint64_t events_bytes = 0, verdicts_bytes = 0;  ///< lengths of the logs at this instant
  double seconds = 0;                                  ///< spent so far; decides nothing
};

nlohmann::json to_json(const StageSpec& stage);
StageSpec stage_from_json(const nlohmann::json& json);
nlohmann::json to_json(const Certificate& certificate);
Certificate certificate_from_json(const nlohmann::json& json);

/// Everything but the snapshots and the objective's state, which are tensors.
nlohmann::json to_json(const RunState& state);
/// Throws a failure when a field is missing or of the wrong type.
RunState state_from_json(const nlohmann::json& json);

}  // namespace cmat::train
