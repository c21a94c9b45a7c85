// The network of a run with everything that its tasks own: banks, committed task parts, and the
// active task's training state. Activating a task is the only way to change what the network
// computes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
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
  bool single_owner = false;  ///< owned: all weights are the first task's
  bool fixed_start = false;   ///< single_owner: and they stay what that task starts from
  nn::PickOptions pick;
  std::int64_t private_below = 0;
  std::uint64_t seed = 1;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  bool frozen = true;  ///< attacks compute with the network's frozen form where it has one
};

class Model {
 public:
  Model(const nn::Description& description, const ModelOptions& options);

  /// What computes now: the active task's network, or that of the task that was activated last.
  nn::Network& network() { return compact_shown_ ? *compact_ : *network_; }
  /// Of network(), but for the classes of its head.
  const nn::Description& description() const {
    return compact_shown_ ? compact_description_ : description_;
  }
  double width() const { return description_.width; }  ///< of the active (or last) task's network
  /// Names of the parameters that the banks hold; the others are each task's own.
  const nn::Names& shared_names() const { return shared_names_; }
  /// Weights that the bank would hold at a width.
  std::int64_t shared_weights(double width) const;
  nn::WeightBank& bank() { return *banks_.back(); }  ///< the active (or last) task's
  /// The bank that holds committed task `task`'s weights.
  nn::WeightBank& bank_of(std::int64_t task) {
    return *banks_.at(options_.sharing == Sharing::separate ? static_cast<std::size_t>(task - 1)
                                                            : 0);
  }
  PartOptimizer& part_optimizer() { return *part_optimizer_; }
  /// The active task learns with the shared weights, and their picks, as they are.
  bool body_is_fixed() const { return options_.fixed_start && committed() == 0; }
  std::int64_t committed() const { return static_cast<std::int64_t>(parts_.size()); }
  const std::vector<nn::TaskPart>& parts() const { return parts_; }
  const ModelOptions& options() const { return options_; }

  /// What the first task starts from instead of random weights, under torch's names; with networks
  /// of their own every task. Kept, and saved with the training state, for as long as it is needed.
  /// REQUIRES that nn::check_initial_weights accepted the file.
  void set_initial_weights(TensorFile weights) { initial_weights_ = std::move(weights); }

  /// Makes the next task (committed() + 1) active with a fresh head; norm layers and biases start
  /// as the previous task left them. Returns true when the norm statistics are fresh (first task,
  /// or a network of its own, at random weights). Later tasks grow to `width` first, if that is
  /// more than the present one.
  bool begin_task(std::int64_t classes, double width = 0);
  /// Widens the network for the active task, which goes on computing what it computes: old entries
  /// keep their corner, new ones belong to it. Ends the stage (momentum and averages are cleared).
  /// Committed tasks keep their own width. A failure where weights are not owned.
  void grow(double width);
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
  /// The same for the first task where it stands for several that were learned at once: each gets
  /// so many rows of the head as it has classes, one task after the other, and a copy of the rest
  /// of the part. REQUIRES single_owner.
  void commit_together(const std::vector<std::int64_t>& classes);

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
  std::int64_t owner_bytes() const;  ///< one byte a shared weight, where ownership matters

  /// The finished model (stored values, owners, parts), or with the training state of the active
  /// task.
  void save(TensorFile& file, const std::string& prefix, bool training) const;
  void load(const TensorFile& file, const std::string& prefix);

 private:
  std::unique_ptr<nn::Network> new_network(const nn::Description& description) const;
  std::unique_ptr<nn::WeightBank> new_bank() const;
  nn::TaskPart capture() const;  ///< of the active task, without picks
  void make_part_optimizer();
  void load_initial_weights(const TensorFile& file, const std::string& prefix);
  /// A new network of that width, initialised for `task` with the head's classes.
  void build(double width, std::int64_t classes, std::int64_t task);
  /// The bank moves into the present network, which is narrower or wider than its own.
  void move_bank();
  /// To a width that the model had; the caller fills in weights and parts.
  void set_width(double width, std::int64_t classes);
  /// A network in which a committed task of that width can run.
  nn::Network& network_of(double width);

  nn::Description description_;  ///< at the present width
  ModelOptions options_;
  std::unique_ptr<nn::Network> network_;
  nn::Names shared_names_;
  std::unique_ptr<nn::Network> compact_;  ///< runs committed tasks of a smaller width
  nn::Description compact_description_;
  bool compact_shown_ = false;
  std::vector<std::unique_ptr<nn::WeightBank>> banks_;
  std::unique_ptr<PartOptimizer> part_optimizer_;
  std::vector<nn::TaskPart> parts_;
  TensorFile initial_weights_;
  bool active_ = false;
};

}  // namespace cmat::train
