#include "fuzz/target.h"

namespace cmat::fuzz {

std::vector<Target> all_targets() {
  std::vector<Target> all;
  for (const auto& some :
       {archive_targets, cifar_targets, config_targets, idx_targets, picture_targets,
        records_targets, run_state_targets, tensor_file_targets}) {
    for (Target& each : some()) all.push_back(std::move(each));
  }
  return all;
}

}  // namespace cmat::fuzz
