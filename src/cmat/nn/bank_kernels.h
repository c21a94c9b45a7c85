// The inner loops of the weight bank: one pass over memory for a whole optimiser step of one
// tensor. Elementwise, so the result depends on neither the number of threads nor the instruction
// set.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace cmat::nn {

/// Masked SGD for the active task's own weights. v is the momentum buffer; g = G + weight_decay *
/// W; v = momentum * v + g; W -= lr * (nesterov ? g + momentum * v : v).
struct SgdOptions {
  double lr = 0.1;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  bool nesterov = true;
};

/// Adam (Kingma and Ba, 2015) for the pick scores.
struct AdamOptions {
  double lr = 5e-4;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

/// Views of one tensor's state, all with the same strides. `scores`, its moments and the averages
/// may be undefined tensors: no picks (every older weight is used), no averaging.
struct BankTensors {
  at::Tensor values, owners, momentum, effective;
  at::Tensor scores, score_m, score_v;
  at::Tensor average_values, average_scores;
};

struct UpdateOptions {
  int task = 1;
  SgdOptions sgd;
  AdamOptions adam;
  std::int64_t adam_step = 1;     ///< 1 for the first update after the picks were initialised
  bool train_picks = true;        ///< false: scores stay
  double pick_threshold = 0.005;  ///< picked when score > threshold
  double average_decay = 0;       ///< average = decay * average + (1 - decay) * value
};

/// One step: own weights by SGD, pick scores by Adam on the straight-through gradient G*W,
/// everything else untouched, averages moved, and the new effective weights written. CPU: one
/// parallel pass. Other devices: the same by tensor operations.
void update(BankTensors& state, const at::Tensor& gradient, const UpdateOptions& options);

/// The tensor-operation form of update(), for devices without the fused loop.
void update_by_tensor_operations(BankTensors& state, const at::Tensor& gradient,
                                 const UpdateOptions& options);

/// effective = W where owner = task, or where 0 < owner < task and score > threshold (undefined
/// scores: all of them); else 0.
void compose(const at::Tensor& values, const at::Tensor& owners, const at::Tensor& scores, int task,
             double pick_threshold, const at::Tensor& effective);

}  // namespace cmat::nn
