// Proof that a task is what it was: digests of its effective weights and of its logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "cmat/continual/setup.h"

namespace cmat::continual {

/// evaluation.probe test images of the task, evenly spaced.
std::vector<std::int64_t> probe_images(const Setup& setup, std::int64_t task);

/// Logits of the probe images with the model as it is activated now.
at::Tensor probe_logits(Setup& setup, std::int64_t task, const std::vector<std::int64_t>& probe);

std::string tensor_digest(const at::Tensor& tensor);

/// REQUIRES that `task` is activated.
train::Certificate make_certificate(Setup& setup, std::int64_t task, const MachineOptions& machine);

}  // namespace cmat::continual
