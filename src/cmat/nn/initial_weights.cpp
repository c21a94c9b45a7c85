#include "cmat/nn/initial_weights.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <set>

#include "cmat/core/error.h"
#include "cmat/nn/bank.h"
#include "cmat/nn/tensors.h"

namespace cmat::nn {
namespace {

constexpr const char* kCounter = "num_batches_tracked";

/// What a file may give to a network: all but the normalisation layer, which is the config's.
std::vector<NamedTensor> fillable(const Network& network) {
  std::vector<NamedTensor> tensors = network.parameters();
  for (NamedTensor& buffer : network.buffers()) {
    if (!buffer.name.starts_with("normalize.")) tensors.push_back(std::move(buffer));
  }
  return tensors;
}

bool in_head(const Network& network, const std::string& name) {
  return name.starts_with(network.head_name() + ".");
}

bool head_fits(const Network& network, const TensorFile& file) {
  for (const NamedTensor& p : network.parameters()) {
    if (!in_head(network, p.name)) continue;
    const auto found = file.tensors.find(p.name);
    if (found == file.tensors.end() || p.tensor.sizes() != found->second.shape) return false;
  }
  return true;
}

/// What is wrong with the file's tensor of this name, or "".
std::string problem(const NamedTensor& live, const TensorFile& file) {
  const auto found = file.tensors.find(live.name);
  const bool counter = live.name.ends_with(kCounter);
  if (found == file.tensors.end()) return counter ? "" : text("it lacks ", live.name);
  const TensorBytes& stored = found->second;
  if (live.tensor.sizes() != stored.shape) {
    return text("its ", live.name, " has the shape ", at::IntArrayRef(stored.shape), " and not ",
                live.tensor.sizes());
  }
  const bool real = stored.dtype == Dtype::f32 || stored.dtype == Dtype::f64;
  if (counter ? stored.dtype != Dtype::i64 : !real) {
    return text("its ", live.name, " must be of type ", counter ? "I64" : "F32 or F64");
  }
  if (real && !at::isfinite(from_bytes(stored)).all().item<bool>()) {
    return text("its ", live.name, " holds a number that is not finite");
  }
  return "";
}

}  // namespace

std::string InitialWeightsSource::text() const {
  return run.empty() ? file.string() : cmat::text(run.string(), ", task ", task);
}

InitialWeightsSource read_initial_weights_source(Config& config) {
  const std::string init = config.string("network.init", "random", {"random", "file", "run"});
  InitialWeightsSource source;
  source.file = config.string("network.file", "");
  source.run = config.string("network.run", "");
  source.task = config.integer("network.run_task", 1, 1, kMaxTasks);
  if (init == "file" && source.file.empty()) {
    usage_error("network.init = \"file\" needs network.file, a safetensors file");
  }
  if (init == "run" && source.run.empty()) {
    usage_error("network.init = \"run\" needs network.run, the folder of a finished run");
  }
  for (const auto& [key, path] : {std::pair("file", source.file), std::pair("run", source.run)}) {
    if (path.empty() || init == key) continue;
    usage_error("network.", key, " = \"", path.string(), "\" has no use with network.init = \"",
                init, "\": set network.init = \"", key, "\"");
  }
  if (source.file.extension() == ".pth" || source.file.extension() == ".pt") {
    usage_error("network.file must be a safetensors file: make one with ", "tools/convert_pth.py ",
                source.file.string(), " OUT.safetensors");
  }
  return source;
}

InitialWeightsFit check_initial_weights(const Network& network, const TensorFile& file,
                                        const std::string& origin) {
  constexpr std::size_t told = 3;  // of perhaps a hundred
  InitialWeightsFit fit;
  fit.head = head_fits(network, file);
  std::set<std::string> known;
  std::vector<std::string> problems;
  for (const NamedTensor& live : fillable(network)) {
    known.insert(live.name);
    if (in_head(network, live.name) && !fit.head) continue;
    const std::string wrong = problem(live, file);
    if (!wrong.empty()) problems.push_back(wrong);
  }
  if (!problems.empty()) {
    std::string list;
    for (std::size_t i = 0; i < std::min(told, problems.size()); ++i) {
      list += (i > 0 ? ", " : "") + problems[i];
    }
    if (problems.size() > told) list += text(", and ", problems.size() - told, " more like these");
    usage_error("the initial weights of ", origin, " do not fit this network: ", list,
                "; they must come from the same architecture at the same width");
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (!known.contains(name) && !name.ends_with(kCounter)) fit.unused.push_back(name);
  }
  return fit;
}

void load_initial_weights(Network& network, const TensorFile& file) {
  const bool head = head_fits(network, file);
  for (const NamedTensor& live : fillable(network)) {
    const auto found = file.tensors.find(live.name);
    if (found == file.tensors.end() || (in_head(network, live.name) && !head)) continue;
    live.tensor.detach().copy_(from_bytes(found->second));
  }
}

}  // namespace cmat::nn
