// Every option of a run, read and checked in one place. The commented configs in configs/ are the
// manual; the fields here say what each option does in a line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cmat/attack/pgd.h"
#include "cmat/core/config.h"
#include "cmat/data/batch.h"
#include "cmat/data/stream.h"
#include "cmat/nn/bank.h"
#include "cmat/nn/description.h"
#include "cmat/train/schedule.h"

namespace cmat::train {

/// [train], [compact], [repick]: how long and how fast each kind of stage trains.
struct StageSettings {
  std::int64_t epochs = 0;
  Schedule schedule;
  double pick_lr = 0;  ///< Adam's rate for the picks; 0: picks stay
};

struct MethodSettings {
  std::string name = "cmat";         ///< one of method_names()
  std::string compaction = "quota";  ///< quota: to the share a task may keep; progressive: as far
                                     ///< as robust validation loss allows, at least to the quota
  std::vector<double> targets;       ///< progressive: shares to free, ascending, in (0,1)
  std::string quota = "equal";       ///< equal: over the tasks still to come; fixed: fixed_ratio
  double fixed_ratio = 0.6;     ///< share of its candidates that each task frees (PackNet's .6)
  double tolerance = 1.0;       ///< "no worse": mean paired difference <= this many standard errors
  std::string select = "last";  ///< epoch to keep: last, or best (robust validation loss)
  std::string backbone = "first";  ///< piggyback: weights are the first task's, or network.file's
  std::int64_t budget = 0;  ///< small: bytes that all networks together may take
  std::string budget_run;   ///< small: a finished run; its bytes are the budget where none is given
  std::string joint_head = "one";  ///< joint: one head for all classes, or tasks: one a task
};

/// What method.name may be.
const std::vector<std::string>& method_names();

/// [growth]: when the network becomes wider, and how far. Widths multiply channels, as
/// network.width does.
struct GrowthSettings {
  double max_width = 0;       ///< hard cap; 0: never grows
  double step = 0.25;         ///< how much wider at a time
  double min_free = 0;        ///< before a task: grow until this share of the weights is free
  std::vector<double> goals;  ///< after training: grow while robust validation accuracy is below
                              ///< this; one for all tasks or one a task; empty: no goal
  std::string goal_run;       ///< a finished run whose robust validation accuracies are the goals
  double tolerance = 1.0;     ///< a goal is met from this many standard errors below it
  std::int64_t epochs = 0;    ///< of the training after growth; 0: train.epochs
};

struct OptimizerSettings {
  std::int64_t batch = 64;
  double momentum = 0.9, weight_decay = 5e-4;
  bool nesterov = true;
  bool decay_head = true;        ///< weight decay on the head and other private weights, too
  double later_lr_factor = 1.0;  ///< lr of tasks 2.. in a shared network is multiplied by this
  double average_decay = 0.99;   ///< moving average of the weights, min(this, (1+t)/(10+t)); 0: off
  double ramp_begin = 0.3, ramp_end = 0.7;  ///< compact: where in the stage pruning happens
  std::int64_t prune_every = 10;            ///< optimiser steps between prunings
  std::int64_t norm_warmup = 8;  ///< batches that set fresh norm statistics before a first task
};

struct EvaluationSettings {
  std::string attack_name;  ///< "pgd20x2"
  attack::PgdOptions attack;
  std::int64_t batch = 250;
  std::int64_t probe = 64;  ///< test images a task whose logits are kept as its certificate
};

struct CheckpointSettings {
  double every_seconds = 30;
  std::int64_t every_steps = 0;  ///< also after this many optimiser steps; 0: by time only
};

struct Settings {
  std::uint64_t seed = 1;
  data::StreamOptions stream;
  data::Augmentation augmentation;
  attack::ThreatModel threat;
  MethodSettings method;
  GrowthSettings growth;
  OptimizerSettings optimizer;
  StageSettings train, compact, repick;
  nn::PickOptions picks;
  nn::AdamOptions pick_adam;
  std::int64_t private_below = 0;  ///< weight tensors smaller than this are each task's own
  bool frozen = true;  ///< network.kernels: auto (attacks compute frozen where they can), not torch
  EvaluationSettings evaluation;
  CheckpointSettings checkpoint;
};

/// Everything but the objective and the network, which need the config themselves. Throws usage
/// Errors.
Settings read_settings(Config& config);

}  // namespace cmat::train
