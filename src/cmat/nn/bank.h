// The weight bank: for every shared weight tensor the stored values, who owns each entry, and what
// the active task picks among its predecessors' entries. The network's own tensors hold the
// EFFECTIVE weights of the active task (own + picked, else exactly 0), as plain autograd leaves, so
// attacks and forward passes pay nothing for ownership.
//
// CPG (Hung et al., NeurIPS 2019) and PackNet (Mallya and Lazebnik, CVPR 2018); docs/methods.md
// lists what is done otherwise and why. Golden values: tests/golden/bank.json, pruning.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/core/tensor_file.h"
#include "cmat/nn/bank_kernels.h"
#include "cmat/nn/network.h"

namespace cmat::nn {

inline constexpr int kMaxTasks = 255;  ///< owners are one byte, 0 is free

struct PickOptions {
  double threshold = 0.005;  ///< picked when score > threshold
  double initial = 0.01;     ///< score at the start: every older weight is picked
};

/// Where one task's entries of the bank come from.
struct OwnershipCount {
  std::int64_t own = 0, picked = 0, older = 0, free = 0, total = 0;
};

/// What a committed task takes from each task before it: entry t - 1 speaks of task t.
struct PickCount {
  std::vector<std::int64_t> owned, picked;  ///< what that task owns, and how much of it is used
};

class WeightBank {
 public:
  /// One shared tensor. `effective` is the network's live parameter; all tensors share its strides.
  struct Layer {
    std::string name;
    BankTensors state;
    std::int64_t candidates = 0;  ///< own + free when the active stage began
  };

  /// `shared` are live parameters (convolution and linear weights, no head). Their present contents
  /// become the stored values; everything is free.
  WeightBank(const std::vector<NamedTensor>& shared, const PickOptions& picks);

  const std::vector<Layer>& layers() const { return layers_; }
  std::vector<Layer>& layers() { return layers_; }  ///< for tests and converters
  int active_task() const { return task_; }
  bool has_picks() const { return has_picks_; }

  /// Makes `task` (1..255) the active one. It takes every free entry; with `picks`, its scores
  /// start at the initial value, else it uses every older entry. Momentum is cleared. Output
  /// filters that would come out all zero are re-initialised (Kaiming, fan-out) from `key`: an
  /// all-zero filter under a norm layer gets a gradient hundreds of times too large.
  void begin_task(int task, bool picks, const Key& key);
  /// Everything, owned or not, becomes `task`'s: how ordinary fine-tuning treats weights.
  void claim_all(int task);

  /// Clears momentum, Adam moments and averages and fixes each layer's candidate count (own +
  /// free).
  void begin_stage(bool average);
  /// Scores back to their initial value.
  void reset_picks();

  /// One optimiser step from dL/d(effective), one tensor a layer in layers() order.
  void update(const std::vector<at::Tensor>& gradients, const UpdateOptions& options);

  /// Frees the active task's smallest own weights: per layer, with n the candidate count fixed by
  /// begin_stage, k = round half to even(ratio * n) and c the k-th smallest |w| among own and free,
  /// every own weight with |w| <= c becomes free and exactly 0, with its momentum and average.
  /// k = 0 frees nothing. Returns the number of weights freed.
  std::int64_t prune(double ratio);

  /// Writes the active task's effective weights into the network: current or averaged.
  void compose_active(bool averaged);
  /// Values and scores := their averages.
  void adopt_average();

  /// The active task's picks, one bit for each entry with 0 < owner < task, in logical order.
  /// Empty when it has none (the first task, or a method that uses every older weight).
  std::map<std::string, TensorBytes> packed_picks() const;
  /// Writes a committed task's effective weights into the network. The active task's training state
  /// is untouched; compose_active() brings it back.
  void compose_committed(int task, const std::map<std::string, TensorBytes>& picks);
  /// The same into another network's shared parameters, in layers() order: a narrower network's
  /// are the leading corners of this one's, and the picks then speak of the corners' entries.
  void compose_committed(int task, const std::map<std::string, TensorBytes>& picks,
                         const std::vector<NamedTensor>& shared) const;
  /// Counts a committed task's picks in the shared parameters of its own network; REQUIRES what
  /// packed_picks() gave for it.
  PickCount count_picks(int task, const std::map<std::string, TensorBytes>& picks,
                        const std::vector<NamedTensor>& shared) const;
  /// The task is over: its entries are frozen from now on (scores and moments are dropped).
  void commit();
  /// Frees and zeroes every entry owned by a task > `task`: the bank as it was when `task`
  /// committed.
  void forget_after(int task);

  /// Goes on where `other`, the bank of a narrower or a wider network, stands: values, owners and
  /// pick scores keep their leading corner. What is new keeps this bank's values and belongs to the
  /// active task (free where there is none). Momentum, moments and averages are cleared.
  void continue_from(const WeightBank& other);

  OwnershipCount count() const;  ///< of the active task
  std::int64_t weights() const;  ///< entries in all
  std::int64_t free_weights() const;
  bool owners_agree() const;  ///< every entry has the same owner

  /// What save() writes: values and owners; with the pick scores too; or the whole training state.
  enum class Detail { stored, snapshot, training };
  void save(TensorFile& file, const std::string& prefix, Detail detail) const;
  /// Reads back whatever detail was saved; what is absent is cleared.
  void load(const TensorFile& file, const std::string& prefix, int active_task, bool has_picks,
            std::int64_t adam_step);
  std::int64_t adam_step() const { return adam_step_; }

 private:
  void drop_training_state();
  std::vector<Layer> layers_;
  PickOptions picks_;
  int task_ = 0;
  bool has_picks_ = false;
  std::int64_t adam_step_ = 0;  ///< updates of the scores since they were initialised
};

/// round(x) with halves to even, as Python's round does.
std::int64_t round_half_even(double x);

}  // namespace cmat::nn
