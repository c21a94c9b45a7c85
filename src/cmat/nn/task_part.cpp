#include "cmat/nn/task_part.h"

#include <ATen/Functions.h>

#include "cmat/core/error.h"
#include "cmat/nn/tensors.h"

namespace cmat::nn {
namespace {

bool is_shared(const Network& network, const NamedTensor& parameter, std::int64_t minimum) {
  const std::string head = network.head_name() + ".";
  return parameter.tensor.dim() > 1 && parameter.tensor.numel() >= minimum &&
         parameter.name.compare(0, head.size(), head) != 0;
}

}  // namespace

std::vector<NamedTensor> shared_parameters(const Network& network, std::int64_t minimum) {
  std::vector<NamedTensor> shared;
  for (NamedTensor& p : network.parameters()) {
    if (is_shared(network, p, minimum)) shared.push_back(std::move(p));
  }
  return shared;
}

std::vector<NamedTensor> private_parameters(const Network& network, std::int64_t minimum) {
  std::vector<NamedTensor> rest;
  for (NamedTensor& p : network.parameters()) {
    if (!is_shared(network, p, minimum)) rest.push_back(std::move(p));
  }
  return rest;
}

std::int64_t TaskPart::tensor_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

std::int64_t TaskPart::pick_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, packed] : picks) bytes += static_cast<std::int64_t>(packed.bytes.size());
  return bytes;
}

TaskPart capture_part(const Network& network, std::int64_t minimum) {
  TaskPart part;
  const auto keep = [&](const NamedTensor& entry) {
    const at::Tensor live = entry.tensor.detach();
    part.tensors[entry.name] = at::empty_like(live).copy_(live);
  };
  for (const NamedTensor& p : private_parameters(network, minimum)) keep(p);
  for (const NamedTensor& b : network.buffers()) keep(b);
  part.classes = part.tensors.at(network.head_name() + ".weight").size(0);
  return part;
}

void restore_part(Network& network, const TaskPart& part, bool head_only) {
  const std::string head = network.head_name() + ".";
  for (const NamedTensor& p : network.parameters()) {
    // Only when needed: others hold on to the head's tensors.
    if (p.name == head + "weight" && p.tensor.size(0) != part.classes)
      network.resize_head(part.classes);
  }
  const auto put = [&](const NamedTensor& entry) {
    if (head_only && entry.name.compare(0, head.size(), head) != 0) return;
    const auto found = part.tensors.find(entry.name);
    if (found != part.tensors.end()) entry.tensor.detach().copy_(found->second);
  };
  for (const NamedTensor& p : network.parameters()) put(p);
  for (const NamedTensor& b : network.buffers()) put(b);
}

void save_part(TensorFile& file, const std::string& prefix, const TaskPart& part) {
  for (const auto& [name, tensor] : part.tensors) file.tensors[prefix + name] = to_bytes(tensor);
  for (const auto& [name, packed] : part.picks) file.tensors[prefix + name + "/picks"] = packed;
  file.tensors[prefix + "classes"] = to_bytes(at::scalar_tensor(part.classes, at::kLong));
}

TaskPart load_part(const TensorFile& file, const std::string& prefix) {
  TaskPart part;
  part.classes = from_bytes(require(file, prefix + "classes")).item<std::int64_t>();
  const std::string suffix = "/picks";
  for (auto it = file.tensors.lower_bound(prefix);
       it != file.tensors.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    const std::string name = it->first.substr(prefix.size());
    if (name == "classes") continue;
    if (name.size() > suffix.size() && name.ends_with(suffix)) {
      part.picks[name.substr(0, name.size() - suffix.size())] = it->second;
    } else {
      part.tensors[name] = from_bytes(it->second);
    }
  }
  return part;
}

}  // namespace cmat::nn
