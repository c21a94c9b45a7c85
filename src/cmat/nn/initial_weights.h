// Weights to start from that were made elsewhere: another run's, or a safetensors file with torch's
// names, such as torchvision's models have (tools/convert_pth.py makes one of a .pth file).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cmat/core/config.h"
#include "cmat/core/tensor_file.h"
#include "cmat/nn/network.h"

namespace cmat::nn {

/// Where the weights come from: a file, or a task of a finished run; neither where they are drawn
/// at random.
struct InitialWeightsSource {
  std::filesystem::path file;
  std::filesystem::path run;
  std::int64_t task = 1;  ///< of the run

  bool empty() const { return file.empty() && run.empty(); }
  std::string text() const;  ///< for messages and records: "weights.safetensors", "RUN, task 1"
};

/// Reads network.init, network.file, network.run and network.run_task.
InitialWeightsSource read_initial_weights_source(Config& config);

struct InitialWeightsFit {
  std::vector<std::string> unused;  ///< tensors of the file that the network has no place for
  bool head = false;                ///< the file's head has as many classes as the network's
};

/// Checks that the file gives every parameter and norm statistic outside of the head its shape and
/// finite numbers (F32 or F64). A usage Error names what does not fit; `origin` is the
/// source's text().
/// num_batches_tracked may be missing; the normalisation layer is never taken from a file.
InitialWeightsFit check_initial_weights(const Network& network, const TensorFile& file,
                                        const std::string& origin);

/// Copies a checked file's tensors into the network. The head only if its classes are as many.
void load_initial_weights(Network& network, const TensorFile& file);

}  // namespace cmat::nn
