#include "cmat/train/run_folder.h"

#include "cmat/core/error.h"

namespace cmat::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void merge(TensorFile& into, const std::string& prefix, const TensorFile& from) {
  for (const auto& [name, tensor] : from.tensors) into.tensors[prefix + name] = tensor;
}

[[noreturn]] void refuse_foreign(const fs::path& folder, const char* name) {
  usage_error("the folder ", folder.string(), " is not a run, but holds a ", name,
              " that a new run would overwrite: choose another --out");
}

fs::path checkpoint_in(const fs::path& run, const char* which) {
  return run / "checkpoint" / (std::string(which) + ".safetensors");
}

}  // namespace

TensorFile extract(const TensorFile& from, const std::string& prefix) {
  TensorFile part;
  for (auto it = from.tensors.lower_bound(prefix);
       it != from.tensors.end() && it->first.starts_with(prefix); ++it) {
    part.tensors[it->first.substr(prefix.size())] = it->second;
  }
  return part;
}

RunFolder::RunFolder(const fs::path& path) : path_(path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) failure("cannot make the run folder ", path.string(), ": ", error.message());
  lock_ = std::make_unique<FolderLock>(path);
}

bool RunFolder::has_run() const { return fs::exists(path_ / "run.json"); }

void RunFolder::prepare_new(const std::string& resolved_config) {
  const bool ours = fs::exists(path_ / "config.toml") && config() == resolved_config;
  for (const char* name :
       {"config.toml", "events.jsonl", "verdicts.jsonl", "results.json", "checkpoint"}) {
    if (!ours && fs::exists(path_ / name)) refuse_foreign(path_, name);
  }
  if (fs::exists(model_file())) refuse_foreign(path_, "model.safetensors");
  std::error_code ignored;
  for (const char* name : {"events.jsonl", "verdicts.jsonl", "results.json"}) {
    fs::remove(path_ / name, ignored);
  }
  fs::remove_all(path_ / "checkpoint", ignored);
}

bool RunFolder::has_whole_model() const {
  try {
    read_tensor_file(model_file());
    return true;
  } catch (const Error&) {
    return false;
  }
}

void RunFolder::write_config(const std::string& resolved) {
  write_file_atomic(path_ / "config.toml", resolved);
}

std::string RunFolder::config() const { return read_file(path_ / "config.toml"); }

void RunFolder::write_run(const json& run) {
  write_file_atomic(path_ / "run.json", run.dump(1) + "\n");
}

json RunFolder::run() const { return read_run_record(path_); }

json read_results(const fs::path& folder) {
  const fs::path file = folder / "results.json";
  json results = json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  const json tasks = results.is_object() ? results.value("tasks", json()) : json();
  if (!tasks.is_array() || tasks.empty()) {
    failure(file.string(), " is damaged: it lists no tasks");
  }
  for (const json& task : tasks) {
    const bool whole = task.is_object() && task.value("name", json()).is_string() &&
                       task.value("classes", json()).is_array() &&
                       task.value("image", json()).is_array() &&
                       task.value("resize", json()).is_string();
    if (!whole) failure(file.string(), " is damaged: a task lacks its name, classes or image");
  }
  return results;
}

json read_run_record(const fs::path& folder) {
  const fs::path file = folder / "run.json";
  json run = json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (run.is_discarded() || !run.is_object()) failure(file.string(), " is damaged: it is not JSON");
  const json format = run.value("format", json());
  if (format != kRunFormat) {
    failure("the run ", folder.string(), " has format ", format.dump(),
            ", and this program reads format ", kRunFormat,
            ": use the version of CMAT that made it (",
            run.value("program", json("unknown")).dump(), ")");
  }
  for (const char* name : {"status", "config_sha256"}) {
    if (!run.value(name, json()).is_string()) {
      failure(file.string(), " is damaged: ", name, " must be there as a string");
    }
  }
  if (!run.value("threads", json()).is_number_integer()) {
    failure(file.string(), " is damaged: threads must be there as a number");
  }
  return run;
}

void RunFolder::write_results(const json& results) {
  write_file_atomic(path_ / "results.json", results.dump(1) + "\n");
}

std::uint64_t RunFolder::append_event(const json& event) {
  return append_file(path_ / "events.jsonl", event.dump() + "\n");
}

std::uint64_t RunFolder::append_verdicts(const std::string& lines) {
  return append_file(path_ / "verdicts.jsonl", lines);
}

void RunFolder::truncate_logs(const RunState& state) {
  truncate_file(path_ / "events.jsonl", state.events_bytes);
  if (state.verdicts_bytes > 0 || fs::exists(path_ / "verdicts.jsonl")) {
    truncate_file(path_ / "verdicts.jsonl", state.verdicts_bytes);
  }
}

void RunFolder::write_checkpoint(const Model& model, const RunState& state) {
  TensorFile file;
  model.save(file, "model/", /*training=*/true);
  merge(file, "accepted/", state.accepted);
  merge(file, "best/", state.best);
  merge(file, "objective/", state.objective);
  file.metadata["state"] = to_json(state).dump();
  const fs::path last = checkpoint_in(path_, "last"), previous = checkpoint_in(path_, "previous");
  std::error_code error;
  fs::create_directories(last.parent_path(), error);
  if (error) failure("cannot make the folder ", last.parent_path().string(), ": ", error.message());
  if (fs::exists(last)) keep_file_as(last, previous);
  write_tensor_file(last, file);
}

RunState load_checkpoint(const fs::path& path, Model& model) {
  return load_checkpoint(read_tensor_file(path), path, model);
}

RunState load_checkpoint(const TensorFile& file, const fs::path& path, Model& model) {
  const auto found = file.metadata.find("state");
  if (found == file.metadata.end()) failure(path.string(), " is not a checkpoint of CMAT");
  const json parsed = json::parse(found->second, nullptr, false);
  if (parsed.is_discarded()) failure(path.string(), " holds a damaged state");
  RunState state = state_from_json(parsed);
  state.accepted = extract(file, "accepted/");
  state.best = extract(file, "best/");
  state.objective = extract(file, "objective/");
  model.load(file, "model/");
  return state;
}

RunState load_newest_checkpoint(const fs::path& run, Model& model, std::string& warning) {
  const fs::path last = checkpoint_in(run, "last"), previous = checkpoint_in(run, "previous");
  if (!fs::exists(last) && !fs::exists(previous)) {
    failure(run.string(), " holds neither a finished model nor a checkpoint");
  }
  std::string reason;
  try {
    return load_checkpoint(last, model);
  } catch (const Error& e) {
    if (!fs::exists(previous)) throw;
    reason = e.what();
  }
  try {
    RunState state = load_checkpoint(previous, model);
    warning =
        text("the newest checkpoint cannot be used (", reason, "), so the one before it is taken");
    return state;
  } catch (const Error& e) {
    failure("neither checkpoint of the run ", run.string(), " can be used (", reason, "; ",
            e.what(),
            "), so it cannot be continued: restore one of them from a copy, or start again");
  }
}

RunState RunFolder::read_checkpoint(Model& model, std::string& warning) {
  RunState state = load_newest_checkpoint(path_, model, warning);
  if (!warning.empty()) {
    move_file(checkpoint_in(path_, "previous"), checkpoint_in(path_, "last"));
  }
  return state;
}

}  // namespace cmat::train
