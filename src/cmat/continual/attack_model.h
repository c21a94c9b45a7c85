// What the program does with a network from anywhere: attacks it, and looks whether to believe
// that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cmat/continual/run.h"

namespace cmat::continual {

struct AttackModelOptions {
  std::filesystem::path model;   ///< TorchScript: images [n,c,h,w] to logits [n,C]
  std::filesystem::path images;  ///< as UserImageOptions
  std::string labels;
  std::int64_t size = 0;
  bool grey = false;
  std::string logits;  ///< "5:10": only these outputs, 5 to 9; labels count as all outputs
  std::vector<double> mean,
      std;  ///< the network takes (x - mean) / std; in units of pixels in [0,1]
  std::vector<std::string> attacks = {"clean", "apgd-ce", "apgd-t"}, eps;
  std::string norm, curve;  ///< default: linf; with linf and no eps 8/255
  std::int64_t limit = 0;   ///< images, spread over the labels; 0: all
  std::int64_t batch = 100;
  std::uint64_t seed = 1;
  std::string targets;  ///< "next", a class (of all outputs), or a file like `labels`; empty: none
  bool checks = true, examples = false;
  std::filesystem::path save_adversarial;
  MachineOptions machine;
};

/// As evaluate(), with one task named after the file and the protocol "task-aware". With targets in
/// a file, none may be its image's own label.
Evaluation attack_model(const AttackModelOptions& options);

}  // namespace cmat::continual
