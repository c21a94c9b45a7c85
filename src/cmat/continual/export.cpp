// cmat export: one finished task's network as a file that other programs read.
#include <algorithm>

#include "cmat/continual/run.h"
#include "cmat/continual/task_network.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/version.h"
#include "cmat/nn/description_json.h"
#include "cmat/nn/onnx.h"
#include "cmat/nn/torch_script.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Format {
  std::string name, extension;
};

const std::vector<Format>& formats() {
  static const std::vector<Format> table = {
      {"onnx", ".onnx"}, {"torchscript", ".pt"}, {"safetensors", ".safetensors"}};
  return table;
}

std::string format_of(const ExportOptions& options) {
  std::vector<std::string> names;
  for (const Format& f : formats()) names.push_back(f.name);
  if (options.format.empty()) {
    const std::string extension = options.output.extension().string();
    for (const Format& f : formats()) {
      if (extension == f.extension) return f.name;
    }
    usage_error("the name ", options.output.string(), " does not say which format is meant: ",
                "end it in .onnx, .pt or .safetensors, or give --format");
  }
  if (std::find(names.begin(), names.end(), options.format) != names.end()) return options.format;
  const std::string guess = nearest(options.format, names);
  usage_error("--format must be onnx, torchscript or safetensors, not \"", options.format, "\"",
              guess.empty() ? "" : text("; did you mean ", guess, "?"));
}

/// Refused before the run is read, which may take a while.
void check_output(const fs::path& output) {
  if (fs::is_directory(output)) {
    usage_error("-o ", output.string(), " is a folder: give the name of a file");
  }
  const fs::path parent = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(parent)) {
    usage_error("-o ", output.string(), ": there is no folder ", parent.string());
  }
  const bool is_run = fs::exists(parent / "run.json");
  const bool is_checkpoints =
      parent.filename() == "checkpoint" && fs::exists(parent.parent_path() / "run.json");
  const bool runs_own = (is_run && output.filename() == "model.safetensors") || is_checkpoints;
  if (runs_own) {
    usage_error("-o ", output.string(), " is where a run keeps its own model: choose another name");
  }
}

std::map<std::string, std::string> metadata_of(const Setup& setup, std::int64_t task,
                                               const nn::Description& description) {
  const data::Task& t = setup.task(task);
  return {
      {"program", text("cmat ", kVersion)},
      {"task", t.name},
      {"task_number", std::to_string(task)},
      {"classes", json(t.class_names).dump()},
      {"architecture", description.architecture},
      {"image", json({description.channels, description.height, description.image_width}).dump()},
      {"layers", nn::to_json(description).at("layers").dump()}};
}

std::string encode(const std::string& format, const nn::EffectiveNetwork& network,
                   const std::map<std::string, std::string>& metadata) {
  if (format == "torchscript") return nn::torch_script(network, metadata);
  TensorFile file = to_tensor_file(network);
  file.metadata = metadata;
  if (format == "onnx") return nn::onnx_model(network.description, file.tensors, metadata);
  return serialize_tensor_file(file);
}

}  // namespace

json export_task(const fs::path& folder, const ExportOptions& options) {
  check_output(options.output);
  const std::string format = format_of(options);
  TaskNetwork opened = open_task_network(folder, options.task, options.machine);
  const Setup& setup = *opened.run.setup;
  const std::int64_t task = opened.task;
  nn::EffectiveNetwork& network = opened.network;
  nn::Removal removed;
  if (!options.keep_channels) removed = nn::remove_zero_channels(network);
  const std::string bytes = encode(format, network, metadata_of(setup, task, network.description));
  write_file_atomic(options.output, bytes);
  return {{"task", task},
          {"name", setup.task(task).name},
          {"classes", setup.task(task).class_names},
          {"format", format},
          {"file", options.output.string()},
          {"bytes", bytes.size()},
          {"channels", network.channels()},
          {"weights", network.weights()},
          {"removed_channels", removed.channels},
          {"removed_weights", removed.weights}};
}

}  // namespace cmat::continual
