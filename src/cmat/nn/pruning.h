// The two passes of WeightBank::prune over one tensor's memory.
#pragma once

#include <cstdint>

#include "cmat/nn/bank_kernels.h"

namespace cmat::nn {

/// The k-th smallest |w| (k from 1) among the entries whose owner is 0 or `task`, exactly. What is
/// not a number counts as infinite. REQUIRES values and owners dense on the CPU, with the same
/// strides, float32 or float64, and at least k such entries.
double kth_magnitude(const at::Tensor& values, const at::Tensor& owners, int task, std::int64_t k);

/// Every entry of `task` with |w| <= cutoff becomes free, and its value, momentum, effective value
/// and average exactly 0. Returns how many there were. Any device.
std::int64_t free_small(BankTensors& state, int task, double cutoff);

}  // namespace cmat::nn
