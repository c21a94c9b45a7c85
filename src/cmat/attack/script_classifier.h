// A Classifier over a TorchScript file: a network that was made anywhere, `cmat export` included.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cmat/attack/classifier.h"

namespace cmat::attack {

struct ScriptOptions {
  /// (x - mean) / std by channel, in front of the network and inside what is attacked, for a network
  /// that takes normalised images; empty: none. Of mean alone or std alone the other is 0 or 1.
  std::vector<double> mean, std;
  /// Which of the outputs are the logits: from first_logit on, before end_logit (-1: to the end).
  std::int64_t first_logit = 0, end_logit = -1;
  at::Device device = at::kCPU;
};

struct Script {
  std::unique_ptr<Classifier> classifier;
  bool saved_in_train_mode = false;  ///< it computes in eval mode all the same
  std::string what;                  ///< "net.pt, normalised, outputs 5:10"
};

/// Reads the file, puts every module of it into eval mode and takes the gradients away from its
/// parameters. Usage Errors, in one sentence: no such file, no TorchScript, a normalisation or range
/// that does not fit, and, at the first pass, images that the network refuses.
Script load_script(const std::filesystem::path& file, const ScriptOptions& options);

}  // namespace cmat::attack
