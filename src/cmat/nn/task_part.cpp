#include "cmat/nn/task_part.h"

#include <ATen/Functions.h>

#include "cmat/core/error.h"
#include "cmat/nn/tensors.h"

namespace cmat::nn {
namespace {

std::vector<NamedTensor> select(const Network& network, const Names& names, bool listed) {
  std::vector<NamedTensor> selected;
  for (NamedTensor& p : network.parameters()) {
    if (names.contains(p.name) == listed) selected.push_back(std::move(p));
  }
  return selected;
}

}  // namespace

Names shared_names(const Network& network, std::int64_t minimum) {
  const std::string head = network.head_name() + ".";
  Names names;
  for (const NamedTensor& p : network.parameters()) {
    if (p.tensor.dim() > 1 && p.tensor.numel() >= minimum && !p.name.starts_with(head)) {
      names.insert(p.name);
    }
  }
  return names;
}

std::vector<NamedTensor> shared_parameters(const Network& network, const Names& shared) {
  return select(network, shared, true);
}

std::vector<NamedTensor> private_parameters(const Network& network, const Names& shared) {
  return select(network, shared, false);
}

SplitGradients split_gradients(const Network& network, const Names& shared,
                               const std::vector<at::Tensor>& gradients) {
  const std::vector<NamedTensor> parameters = network.parameters();
  if (gradients.size() != parameters.size()) {
    failure("a network of ", parameters.size(), " parameters got ", gradients.size(),
            " gradients; this is a defect of the program, please report it");
  }
  SplitGradients split;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    (shared.contains(parameters[i].name) ? split.shared : split.own).push_back(gradients[i]);
  }
  return split;
}

std::int64_t head_classes(const Network& network) {
  const std::string name = network.head_name() + ".weight";
  for (const NamedTensor& p : network.parameters()) {
    if (p.name == name) return p.tensor.size(0);
  }
  failure("the network has no head named ", network.head_name());
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

TaskPart capture_part(const Network& network, const Names& shared) {
  TaskPart part;
  const auto keep = [&](const NamedTensor& entry) {
    const at::Tensor live = entry.tensor.detach();
    part.tensors[entry.name] = at::empty_like(live).copy_(live);
  };
  for (const NamedTensor& p : private_parameters(network, shared)) keep(p);
  for (const NamedTensor& b : network.buffers()) keep(b);
  part.classes = head_classes(network);
  return part;
}

void restore_part(Network& network, const TaskPart& part, bool head_only) {
  const std::string head = network.head_name() + ".";
  // Only when needed: others hold on to the head's tensors.
  if (head_classes(network) != part.classes) network.resize_head(part.classes);
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
  file.tensors[prefix + "width"] = to_bytes(at::scalar_tensor(part.width, at::kDouble));
}

TaskPart load_part(const TensorFile& file, const std::string& prefix) {
  TaskPart part;
  part.classes = from_bytes(require(file, prefix + "classes")).item<std::int64_t>();
  part.width = from_bytes(require(file, prefix + "width")).item<double>();
  const std::string suffix = "/picks";
  for (auto it = file.tensors.lower_bound(prefix);
       it != file.tensors.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    const std::string name = it->first.substr(prefix.size());
    if (name == "classes" || name == "width") continue;
    if (name.size() > suffix.size() && name.ends_with(suffix)) {
      part.picks[name.substr(0, name.size() - suffix.size())] = it->second;
    } else {
      part.tensors[name] = from_bytes(it->second);
    }
  }
  return part;
}

}  // namespace cmat::nn
