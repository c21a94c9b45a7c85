// The file model.safetensors of a finished run (docs/run-format.md).
#pragma once

#include "cmat/continual/setup.h"
#include "cmat/core/tensor_file.h"
#include "cmat/train/run_state.h"

namespace cmat::continual {

/// The model with all its tasks, certificates, measurements and config, and nothing that depends on
/// clocks or logs, so that equal runs give equal files. It opens like a checkpoint. Leaves the last
/// task active in the model.
TensorFile finished_model(Setup& setup, const train::RunState& state);

}  // namespace cmat::continual
