// The network of a run with everything that its tasks own: banks, committed task parts, and the
// active task's training state. Activating a task is the only way to change what the network
// computes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmat/core/tensor_file.h"
#include "cmat/nn/bank.h"
#include "cmat/nn/description.h"
#include "cmat/nn/network.h"
#include "cmat/nn/task_part.h"
#include "cmat/train/part_optimizer.h"

namespace cmat::train {

/// How tasks share weights.
enum class Sharing {
  owned,       ///< one bank; each weight belongs to one task and is frozen with it (cmat, packnet)
  separate,    ///< a bank of its own for each task (individual)
  overwritten  ///< one bank that every task claims whole; old tasks keep only their heads
               ///< (finetune)
};

struct ModelOptions {
  Sharing sharing = Sharing::owned;
  bool picks = true;  ///< owned: later tasks pick among older weights; else use them all
  nn::PickOptions pick;
  std::int64_t private_below = 0;
  std::uint64_t seed = 1;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

class Model {
 public:
  Model(const nn::Description& description, const ModelOptions& options);

  nn::Network& network() { return *network_; }
  const nn::Description& description() const { return description_; }
  nn::WeightBank& bank() { return *banks_.back(); }  ///< the active (or last) task's
  /// The bank that holds committed task `task`'s weights.
  nn::WeightBank& bank_of(std::int64_t task) {
    return *banks_.at(options_.sharing == Sharing::separate ? static_cast<std::size_t>(task - 1)
                                                            : 0);
  }
  PartOptimizer& part_optimizer() { return *part_optimizer_; }
  std::int64_t committed() const { return static_cast<std::int64_t>(parts_.size()); }
  const std::vector<nn::TaskPart>& parts() const { return parts_; }
  const ModelOptions& options() const { return options_; }

  /// Makes the next task (committed() + 1) active with a fresh head; norm layers and biases start
  /// as the previous task left them. Returns true when the norm statistics are fresh (first task,
  /// or a network of its own).
  bool begin_task(std::int64_t classes);
  void begin_stage(bool average);

  // While a task is active:
  void show_averages();  ///< the network computes with the averages (for validation) …
  void hide_averages();  ///< … and with the live weights again
  void adopt_averages();
  /// What training may change: values, owners, picks, part. `restore` clears momentum and averages.
  TensorFile snapshot() const;
  void restore(const TensorFile& snapshot);
  /// The task is over.
  void commit();

  /// The network computes committed task `task` (1-based), as it was committed (`overwritten`: with
  /// the latest body). No task is active afterwards.
  void activate(std::int64_t task);

  /// SHA-256 over the active network's effective weights, norm layers and head, in logical order:
  /// the portable part of a task's certificate.
  std::string weight_digest() const;

  /// Frees everything that later tasks own and drops their parts: the model right after `task`
  /// committed. A usage Error where that is not known (`overwritten`).
  void rewind(std::int64_t task);

  std::int64_t value_bytes() const;  ///< stored weight values
  std::int64_t owner_bytes() const;  ///< one byte a shared weight, where ownership is stored

  /// The finished model (stored values, owners, parts), or with the training state of the active
  /// task.
  void save(TensorFile& file, const std::string& prefix, bool training) const;
  void load(const TensorFile& file, const std::string& prefix);

 private:
  void make_bank();
  void make_part_optimizer();

  nn::Description description_;
  ModelOptions options_;
  std::unique_ptr<nn::Network> network_;
  std::vector<std::unique_ptr<nn::WeightBank>> banks_;
  std::unique_ptr<PartOptimizer> part_optimizer_;
  std::vector<nn::TaskPart> parts_;
  bool active_ = false;
};

}  // namespace cmat::train
