// A network as an ONNX file (https://onnx.ai, operator set 13), which onnxruntime and most other
// runtimes read. Written without a tensor library.
#pragma once

#include <map>
#include <string>

#include "cmat/core/tensor_file.h"
#include "cmat/nn/description.h"

namespace cmat::nn {

/// The file's bytes. Input `image`, float32 [batch, c, h, w] of pixels in [0,1], any batch, and any
/// height and width where the network pools globally; output `logits` [batch, classes]. `state` is
/// an EffectiveNetwork's, in float32; `metadata` goes into metadata_props. A failure for tensors of
/// another type or shape, and for more than the 2 GB that the format holds.
std::string onnx_model(const Description& description,
                       const std::map<std::string, TensorBytes>& state,
                       const std::map<std::string, std::string>& metadata);

}  // namespace cmat::nn
