// Weights to start from that were made elsewhere: a safetensors file with torch's names, such as
// torchvision's models have (tools/convert_pth.py makes one of a .pth file).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cmat/core/config.h"
#include "cmat/core/tensor_file.h"
#include "cmat/nn/network.h"

namespace cmat::nn {

/// Reads network.init and network.file. Empty where weights are drawn at random.
std::filesystem::path read_initial_weights_path(Config& config);

struct InitialWeightsFit {
  std::vector<std::string> unused;  ///< tensors of the file that the network has no place for
  bool head = false;                ///< the file's head has as many classes as the network's
};

/// Checks that the file gives every parameter and norm statistic outside of the head its shape and
/// finite numbers (F32 or F64). A usage Error names what does not fit; `origin` is the file's name.
/// num_batches_tracked may be missing; the normalisation layer is never taken from a file.
InitialWeightsFit check_initial_weights(const Network& network, const TensorFile& file,
                                        const std::string& origin);

/// Copies a checked file's tensors into the network. The head only if its classes are as many.
void load_initial_weights(Network& network, const TensorFile& file);

}  // namespace cmat::nn
