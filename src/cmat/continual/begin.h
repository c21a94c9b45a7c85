// Where a run starts from: nothing, the first tasks of another run, or its own folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/config.h"
#include "cmat/train/run_folder.h"
#include "cmat/train/run_state.h"

namespace cmat::continual {

/// The present time as run.json and events.jsonl write it.
std::string utc_now();

/// The config file, or that of a run folder, with the caller's overrides.
Config load_config(const TrainOptions& options);

/// "RUN@3" of --from.
struct Origin {
  std::filesystem::path run;
  std::int64_t task = 0;
};
Origin origin_of(const TrainOptions& options);

/// The state after the tasks that `options.from` names; the model gets their weights.
train::RunState branch(Setup& setup, const TrainOptions& options);

/// Gives the model the weights of network.file, if the config names one; after branch(). Returns
/// {"file", "sha256", "head", "unused"} for the records, or null. In a branch that shares weights
/// the file counts with which the other run began.
nlohmann::json load_initial_weights(Setup& setup, const TrainOptions& options);

/// Writes the records and the first checkpoint of a new run, run.json last: a folder that has it
/// can be continued from whatever instant. `initial_weights` is what load_initial_weights
/// returned. Returns run.json.
nlohmann::json begin_run(Setup& setup, train::RunFolder& folder, train::RunState& state,
                         const TrainOptions& options, const nlohmann::json& initial_weights);

/// Checks that the folder's run can be continued with this setup, and reads where it stands.
train::RunState resume_run(Setup& setup, train::RunFolder& folder, const TrainOptions& options,
                           nlohmann::json& run);

}  // namespace cmat::continual
