// Everything a task needs that is not in the bank: norm layers (affine and running statistics,
// num_batches_tracked included), biases, the head, weights too small to share, and the task's
// picks.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cmat/core/tensor_file.h"
#include "cmat/nn/network.h"

namespace cmat::nn {

using Names = std::set<std::string>;

/// The parameters that the bank shares: convolution and linear weights of at least `minimum`
/// entries, without the head. Smaller ones stay private to each task, since a fixed share of them
/// would soon leave later tasks nothing. Decided once, at the width that a run begins with: growth
/// makes no private tensor a shared one.
Names shared_names(const Network& network, std::int64_t minimum);

std::vector<NamedTensor> shared_parameters(const Network& network, const Names& shared);
/// The other parameters: what a task trains by itself.
std::vector<NamedTensor> private_parameters(const Network& network, const Names& shared);

struct SplitGradients {
  std::vector<at::Tensor> shared;  ///< in shared_parameters() order, which is that of the banks
  std::vector<at::Tensor> own;     ///< in private_parameters() order
};

/// `gradients` has one for each of network.parameters(), in their order; else a failure.
SplitGradients split_gradients(const Network& network, const Names& shared,
                               const std::vector<at::Tensor>& gradients);

/// Rows of the head's weight.
std::int64_t head_classes(const Network& network);

struct TaskPart {
  std::int64_t classes = 0;
  double width = 0;                           ///< of the network that the task runs in
  std::map<std::string, at::Tensor> tensors;  ///< private parameters and all buffers, by name
  std::map<std::string, TensorBytes> picks;   ///< WeightBank::packed_picks

  bool empty() const { return tensors.empty(); }
  std::int64_t tensor_bytes() const;
  std::int64_t pick_bytes() const;
};

/// A copy of the network's private parameters and buffers.
TaskPart capture_part(const Network& network, const Names& shared);
/// Puts a part into the network (resizing the head). With `head_only`, the body stays as it is.
void restore_part(Network& network, const TaskPart& part, bool head_only = false);

void save_part(TensorFile& file, const std::string& prefix, const TaskPart& part);
TaskPart load_part(const TensorFile& file, const std::string& prefix);

}  // namespace cmat::nn
