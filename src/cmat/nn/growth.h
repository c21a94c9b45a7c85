// Growing a network by channels without changing what it computes: every tensor of the narrower
// network is the leading corner of the wider one's (Net2Net's widening, Chen et al., ICLR 2016, in
// the form that CPG needs: old weights stay where they are, new ones are free).
#pragma once

#include <ATen/core/Tensor.h>

#include "cmat/nn/network.h"

namespace cmat::nn {

/// The view [:sizes[0], :sizes[1], ...] of a tensor, at most the whole in each dimension.
at::Tensor leading_corner(const at::Tensor& tensor, at::IntArrayRef sizes);

/// Copies parameters and buffers of `narrow` into the leading corners of `wide`, which must be
/// initialised and have the same names. New inputs of old filters become 0, so the logits are the
/// narrow network's; new filters keep their initial weights, so they learn from the first step.
void transplant(const Network& narrow, Network& wide);

}  // namespace cmat::nn
