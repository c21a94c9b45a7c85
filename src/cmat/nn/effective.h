// A finished task's network alone: its layers and the tensors that they compute with, cut loose
// from banks and owners, and made smaller where that changes nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "cmat/nn/description.h"
#include "cmat/nn/network.h"

namespace cmat::nn {

struct EffectiveNetwork {
  Description description;
  /// Parameters and buffers by torch's dotted names, contiguous on the CPU. Without
  /// num_batches_tracked, which no inference reads.
  std::map<std::string, at::Tensor> state;

  /// Filters and units of all convolution and linear layers but the head, which has classes.
  std::int64_t channels() const;
  /// Entries of all tensors but the normalisation layer's.
  std::int64_t weights() const;
};

/// Copies what `network` computes with now, without layers that only training knows (dropout). The
/// head's `out` is taken from its weight, which may have been resized since `description` was made.
/// A failure when a tensor does not fit.
EffectiveNetwork effective_network(const Network& network, const Description& description);

struct Removal {
  std::int64_t channels = 0;  ///< filters and units taken away
  std::int64_t weights = 0;   ///< entries of tensors taken away
};

/// Takes out channels that cannot influence the logits. A channel goes when each convolution and
/// linear layer that reads it either finds exactly 0 there for every image, or has no weight but 0
/// for it. The first is so for a filter of zeros, or one before a norm layer's weight of 0, whose
/// constant (bias, norm layer) is at most 0 and meets a ReLU; a channel with another constant
/// stays. Values that an addition ties together lose a channel together or not at all. One channel
/// of each layer always stays.
///
/// The logits stay the same but for the rounding of sums that are added in another order.
Removal remove_zero_channels(EffectiveNetwork& network);

}  // namespace cmat::nn
