// The network of one finished task of a run, apart from the run.
#pragma once

#include <filesystem>
#include <string>

#include "cmat/continual/setup.h"
#include "cmat/nn/effective.h"

namespace cmat::continual {

struct TaskNetwork {
  OpenedRun run;
  std::int64_t task = 0;
  nn::EffectiveNetwork network;  ///< copies, with torch's names
};

/// `asked`: the task's number or name. A usage Error where the folder is no run, or the task is not
/// there or not finished.
TaskNetwork open_task_network(const std::filesystem::path& folder, const std::string& asked,
                              const MachineOptions& machine);

/// The network's tensors as a file has them.
TensorFile to_tensor_file(const nn::EffectiveNetwork& network);

}  // namespace cmat::continual
