// The folder of a run on disk (docs/run-format.md): lock, records, and checkpoints that are
// verified when they are read, with the previous one kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cmat/core/files.h"
#include "cmat/train/model.h"
#include "cmat/train/run_state.h"

namespace cmat::train {

inline constexpr int kRunFormat = 1;

class RunFolder {
 public:
  /// Makes the folder if needed and locks it for this process.
  explicit RunFolder(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool has_run() const;  ///< run.json is there

  /// Before a new run's first file: clears what a start that was killed before run.json left, and
  /// refuses a folder with files that a run would overwrite.
  void prepare_new(const std::string& resolved_config);

  void write_config(const std::string& resolved);
  std::string config() const;
  void write_run(const nlohmann::json& run);
  nlohmann::json run() const;  ///< see read_run_record
  void write_results(const nlohmann::json& results);

  /// Adds a line to events.jsonl; returns the file's new length.
  std::uint64_t append_event(const nlohmann::json& event);
  std::uint64_t append_verdicts(const std::string& lines);
  /// Cuts both logs back to what the checkpoint knows, so that a killed run leaves no line twice.
  void truncate_logs(const RunState& state);

  /// last.safetensors becomes previous.safetensors, then the new one takes its place; each step is
  /// atomic, so at least one whole checkpoint exists at any instant.
  void write_checkpoint(const Model& model, const RunState& state);
  /// load_newest_checkpoint; an older one takes the place of the damaged one at once, so that this
  /// never becomes the one that is kept.
  RunState read_checkpoint(Model& model, std::string& warning);

  /// model.safetensors is there and undamaged.
  bool has_whole_model() const;
  std::filesystem::path model_file() const { return path_ / "model.safetensors"; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<FolderLock> lock_;
};

/// run.json with the fields that the program relies on, refused when it is of another format
/// version.
nlohmann::json read_run_record(const std::filesystem::path& run);

/// results.json, refused when it is damaged.
nlohmann::json read_results(const std::filesystem::path& run);

/// Loads the newest checkpoint of a run that is whole. `warning` says why an older one was taken,
/// if so.
RunState load_newest_checkpoint(const std::filesystem::path& run, Model& model,
                                std::string& warning);

/// Loads a checkpoint file: the model, and everything else of the state.
RunState load_checkpoint(const std::filesystem::path& path, Model& model);
/// The same from a file that was read already; `path` is for messages.
RunState load_checkpoint(const TensorFile& file, const std::filesystem::path& path, Model& model);

/// The tensors whose names begin with `prefix`, under the rest of their names.
TensorFile extract(const TensorFile& from, const std::string& prefix);

}  // namespace cmat::train
