// Tensors of several shapes and layouts for tests of the weight bank, and the step between a bank
// and its reference.
#pragma once

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/nn/bank.h"
#include "reference_bank.h"

namespace cmat::test {

enum class Layout { contiguous, channels_last, transposed };

/// The same numbers in another order in memory.
inline at::Tensor laid_out(const at::Tensor& tensor, Layout layout) {
  if (layout == Layout::channels_last && tensor.dim() == 4) {
    return tensor.contiguous(at::MemoryFormat::ChannelsLast);
  }
  if (layout == Layout::transposed) return tensor.transpose(0, 1).contiguous().transpose(0, 1);
  return tensor.contiguous();
}

/// Normal numbers in logical order.
inline at::Tensor random_tensor(at::IntArrayRef shape, at::ScalarType dtype, Random& random) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions(at::kDouble));
  auto* p = tensor.data_ptr<double>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) p[i] = random.normal();
  return tensor.to(dtype);
}

inline const std::vector<std::vector<std::int64_t>>& small_shapes() {
  static const std::vector<std::vector<std::int64_t>> shapes = {
      {5, 3, 3, 3}, {7, 5, 1, 1}, {4, 1, 3, 3}, {6, 11}};
  return shapes;
}

inline std::vector<nn::NamedTensor> live_tensors(
    const std::vector<std::vector<std::int64_t>>& shapes, at::ScalarType dtype, Layout layout,
    Random& random) {
  std::vector<nn::NamedTensor> live;
  for (const auto& shape : shapes) {
    live.push_back({"layer" + std::to_string(live.size()),
                    laid_out(random_tensor(shape, dtype, random).mul_(0.1), layout)});
  }
  return live;
}

/// Logical order, as doubles; empty for an undefined tensor.
inline Numbers logical(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  const at::Tensor plain = tensor.detach().to(at::kDouble).contiguous();
  const double* p = plain.const_data_ptr<double>();
  return {p, p + plain.numel()};
}

/// The bank's whole state as the reference's.
inline ReferenceBank reference_of(const nn::WeightBank& bank) {
  ReferenceBank reference;
  reference.task = bank.active_task();
  reference.picks = bank.has_picks();
  reference.adam_step = static_cast<int>(bank.adam_step());
  for (const auto& layer : bank.layers()) {
    const nn::BankTensors& s = layer.state;
    ReferenceLayer l;
    l.filters = s.values.size(0);
    for (double owner : logical(s.owners)) l.owners.push_back(static_cast<int>(owner));
    l.values = logical(s.values);
    l.momentum = logical(s.momentum);
    l.effective = logical(s.effective);
    const Numbers nothing(l.size(), 0.0);
    const auto or_nothing = [&](const at::Tensor& t) { return t.defined() ? logical(t) : nothing; };
    l.scores = or_nothing(s.scores);
    l.score_m = or_nothing(s.score_m);
    l.score_v = or_nothing(s.score_v);
    l.average_values = or_nothing(s.average_values);
    l.average_scores = or_nothing(s.average_scores);
    l.candidates = layer.candidates;
    reference.averages = s.average_values.defined();
    reference.layers.push_back(std::move(l));
  }
  return reference;
}

inline void expect_near(const Numbers& actual, const Numbers& expected, double tolerance,
                        const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance) << what << " at " << i;
  }
}

/// The bits, not the numbers: tells -0 from 0.
inline std::string bits_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  const at::Tensor plain = tensor.detach().contiguous();
  return {static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()};
}

inline std::vector<std::string> effective_bits(const nn::WeightBank& bank) {
  std::vector<std::string> bits;
  for (const auto& layer : bank.layers()) bits.push_back(bits_of(layer.state.effective));
  return bits;
}

inline nn::UpdateOptions averaging(double decay) {
  nn::UpdateOptions options;
  options.average_decay = decay;
  return options;
}

/// One gradient a layer.
inline std::vector<at::Tensor> random_gradients(const nn::WeightBank& bank, Layout layout,
                                                Random& random) {
  std::vector<at::Tensor> gradients;
  for (const auto& layer : bank.layers()) {
    const at::Tensor& w = layer.state.values;
    gradients.push_back(laid_out(random_tensor(w.sizes(), w.scalar_type(), random), layout));
  }
  return gradients;
}

}  // namespace cmat::test
