// From a config to everything that a run is made of.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "cmat/continual/method.h"
#include "cmat/continual/run.h"
#include "cmat/core/config.h"
#include "cmat/data/stream.h"
#include "cmat/defense/objective.h"
#include "cmat/eval/robust_eval.h"
#include "cmat/nn/initial_weights.h"
#include "cmat/train/model.h"
#include "cmat/train/run_folder.h"
#include "cmat/train/run_state.h"
#include "cmat/train/settings.h"

namespace cmat::continual {

struct Setup {
  train::Settings settings;
  data::Stream stream;
  data::Stream joined;  ///< of a joint method: one task made of all; else empty
  nn::Description description;
  std::unique_ptr<defense::Objective> objective;
  std::unique_ptr<Method> method;
  std::unique_ptr<train::Model> model;
  std::string resolved;                      ///< the complete config
  nn::InitialWeightsSource initial_weights;  ///< only a new run reads them

  /// The tasks that are learned one after the other.
  const data::Stream& learned() const { return method->joint() ? joined : stream; }
  /// Task `number` of the stream, counted from 1 as everywhere outside of vectors.
  const data::Task& task(std::int64_t number) const {
    return stream.tasks.at(static_cast<std::size_t>(number - 1));
  }
  /// How every evaluation is batched.
  eval::EvalOptions eval_options() const {
    return {settings.evaluation.batch, model->options().device};
  }
  /// Names the random draws of every attack on a task's test images, so that tables, pictures and
  /// later evaluations show the same thing.
  Key test_draws(std::int64_t number) const {
    return {.seed = settings.seed,
            .task = static_cast<std::uint64_t>(number),
            .stage = 1,
            .purpose = Purpose::evaluation};
  }
};

/// Reads the whole config (unknown keys are usage Errors), loads the data and builds the network.
std::unique_ptr<Setup> make_setup(Config config, const MachineOptions& machine);

/// Fills in what was not asked for (from the record of `run`, if given) and sets libtorch up
/// accordingly: thread count, and on CUDA deterministic kernels at full float32 precision. Throws
/// a usage Error when CUDA is asked for and absent.
MachineOptions prepare_machine(MachineOptions asked, const std::filesystem::path& run = {});

/// What a logit's last bits depend on: threads, batch, device, instruction set, libtorch.
std::string logits_key(const train::Settings& settings, const MachineOptions& machine);

/// A finished run's network alone, opened without its images.
struct OpenedModel {
  train::Settings settings;
  std::unique_ptr<train::Model> model;
  MachineOptions machine;  ///< as it was filled in
  nlohmann::json results;  ///< results.json: tasks and their classes
};
OpenedModel open_model(const std::filesystem::path& folder, const MachineOptions& machine);

/// Refuses a folder that is not a run's.
void require_run(const std::filesystem::path& folder);
/// Refuses a run whose config.toml is not the one that run.json was written for.
void require_unedited_config(const std::filesystem::path& folder, const nlohmann::json& run);

/// A run on disk with its newest model: model.safetensors, or the last checkpoint.
struct OpenedRun {
  std::unique_ptr<Setup> setup;
  train::RunState state;
  MachineOptions machine;  ///< as it was filled in
  TensorFile certificate;  ///< "task1/logits", ... as stored with a finished model; else empty
};
OpenedRun open_run(const std::filesystem::path& folder, const MachineOptions& machine);

}  // namespace cmat::continual
