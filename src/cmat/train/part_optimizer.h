// SGD for what a task trains outside the bank (norm layers' affine, biases, head), with the moving
// average of those parameters and of the norm statistics. The state is ours, kept by position, and
// is saved whole.
#pragma once

#include <string>
#include <vector>

#include "cmat/core/tensor_file.h"
#include "cmat/nn/bank_kernels.h"
#include "cmat/nn/network.h"

namespace cmat::train {

class PartOptimizer {
 public:
  /// Live tensors. Integer buffers (num_batches_tracked) are copied, not averaged.
  PartOptimizer(std::vector<nn::NamedTensor> parameters, std::vector<nn::NamedTensor> buffers);

  const std::vector<nn::NamedTensor>& parameters() const { return parameters_; }

  /// Momentum zero; averages start at the present values, or are off.
  void begin_stage(bool average);
  /// One step; `gradients` in parameters() order. Decay acts on tensors with two or more
  /// dimensions.
  void update(const std::vector<at::Tensor>& gradients, const nn::SgdOptions& sgd);
  /// Moves the averages: once an optimiser step, after update().
  void average(double decay);

  /// Exchanges live and averaged tensors; twice is nothing. Does nothing without averages.
  void swap_average();
  /// Live := average.
  void adopt_average();

  void save(TensorFile& file, const std::string& prefix) const;
  void load(const TensorFile& file, const std::string& prefix);

 private:
  std::vector<nn::NamedTensor> parameters_, buffers_;
  std::vector<at::Tensor> momentum_;
  std::vector<at::Tensor> averages_;  ///< parameters, then buffers; empty when off
};

}  // namespace cmat::train
