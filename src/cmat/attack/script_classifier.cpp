#include "cmat/attack/script_classifier.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cmath>

#include "cmat/core/error.h"

namespace cmat::attack {
namespace {

using torch::jit::Module;

/// The last line of libtorch's message that says something: the reason, below pages of stack.
std::string reason_of(const std::exception& error) {
  const std::string what = error.what();
  std::string reason;
  std::size_t begin = 0;
  while (begin < what.size()) {
    const std::size_t end = std::min(what.find('\n', begin), what.size());
    const std::string line = what.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with("Exception raised from")) break;  // the stack of C++ begins
    const std::size_t first = line.find_first_not_of(" \t~^");
    if (first != std::string::npos && line.find("<--- HERE") == std::string::npos)
      reason = line.substr(first);
  }
  while (!reason.empty() && (reason.back() == '.' || reason.back() == ' ')) reason.pop_back();
  return reason;
}

Module load(const std::filesystem::path& file, at::Device device) {
  if (!std::filesystem::is_regular_file(file)) {
    usage_error("there is no file ", file.string(), " to read a network from");
  }
  try {
    return torch::jit::load(file.string(), device);
  } catch (const std::exception&) {
    usage_error(file.string(), " is no TorchScript file: save the network in Python with ",
                "torch.jit.trace(network.eval(), images).save(file), since a state_dict lacks the ",
                "network itself");
  }
}

/// Eval mode where there is a mode; a frozen script has none. Returns whether one was in train mode.
bool put_into_eval_mode(Module& root) {
  bool trained = false;
  for (const Module& each : root.modules()) {
    const auto slot = each._ivalue()->type()->findAttributeSlot("training");
    if (!slot || !each._ivalue()->getSlot(*slot).isBool()) continue;
    trained = trained || each._ivalue()->getSlot(*slot).toBool();
    each._ivalue()->setSlot(*slot, false);
  }
  return trained;
}

/// [1,c,1,1], of the images' type.
at::Tensor by_channel(const std::vector<double>& values, const at::Tensor& images,
                      const char* what) {
  const auto channels = static_cast<std::int64_t>(values.size());
  if (channels != 1 && channels != images.size(1)) {
    usage_error(what, " has ", channels, " values for images of ", images.size(1), " channels");
  }
  return at::tensor(values, at::kDouble).to(images.options()).view({1, -1, 1, 1});
}

void check(const ScriptOptions& o) {
  for (double std : o.std) {
    if (!(std > 0) || !std::isfinite(std)) {
      usage_error("--std must be above 0, but one value is ", std);
    }
    if (std > 2) {
      usage_error("--std is in units of pixels in [0,1], but one value is ", std,
                  ": divide by 255");
    }
  }
  for (double mean : o.mean) {
    if (!(std::abs(mean) <= 2)) {
      usage_error("--mean is in units of pixels in [0,1], but one value is ", mean,
                  ": divide by 255");
    }
  }
}

class Caller {
 public:
  Caller(Module module, ScriptOptions options, std::string file)
      : module_(std::move(module)), options_(std::move(options)), file_(std::move(file)) {}

  at::Tensor operator()(const at::Tensor& images) {
    at::Tensor x = images;
    if (!options_.mean.empty()) x = x - by_channel(options_.mean, images, "--mean");
    if (!options_.std.empty()) x = x / by_channel(options_.std, images, "--std");
    return chosen(outputs(x));
  }

 private:
  at::Tensor outputs(const at::Tensor& x) {
    c10::IValue answer;
    try {
      answer = module_.forward({x});
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& e) {
      if (std::string(e.what()).find("can't allocate memory") != std::string::npos) throw;
      usage_error("the network ", file_, " refuses images of the shape ", x.sizes(), " (",
                  reason_of(e), "): give images of the size that it takes");
    }
    if (!answer.isTensor()) {
      usage_error("the network ", file_, " returns a ", answer.tagKind(),
                  ", but an attack needs one tensor of logits: save one that returns only these");
    }
    return answer.toTensor();
  }

  at::Tensor chosen(const at::Tensor& logits) const {
    const std::int64_t first = options_.first_logit;
    if (logits.dim() != 2 || (first == 0 && options_.end_logit < 0)) return logits;
    const std::int64_t end = options_.end_logit < 0 ? logits.size(1) : options_.end_logit;
    if (first < 0 || end > logits.size(1) || end <= first) {
      usage_error("--logits ", first, ":", end, " is not a range of the ", logits.size(1),
                  " outputs, 0:", logits.size(1), ", that the network ", file_, " gives");
    }
    return logits.narrow(1, first, end - first);
  }

  Module module_;
  ScriptOptions options_;
  std::string file_;
};

}  // namespace

Script load_script(const std::filesystem::path& file, const ScriptOptions& options) {
  check(options);
  Module module = load(file, options.device);
  Script script;
  script.saved_in_train_mode = put_into_eval_mode(module);
  for (at::Tensor parameter : module.parameters()) parameter.requires_grad_(false);
  script.what = file.filename().string();
  if (!options.mean.empty() || !options.std.empty()) script.what += ", normalised";
  if (options.first_logit > 0 || options.end_logit >= 0) {
    script.what += text(", outputs ", options.first_logit, ":",
                        options.end_logit < 0 ? "" : std::to_string(options.end_logit));
  }
  script.classifier = std::make_unique<FunctionClassifier>(Caller(module, options, file.string()));
  return script;
}

}  // namespace cmat::attack
