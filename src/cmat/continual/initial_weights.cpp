// The weights that a new run starts from, where the config names a file or another run.
#include "cmat/nn/initial_weights.h"

#include "cmat/continual/begin.h"
#include "cmat/continual/task_network.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"

namespace cmat::continual {

using nlohmann::json;

namespace {

void say_unused(const std::string& file, const std::vector<std::string>& unused) {
  if (unused.empty()) return;
  Progress("", 0).line(text("warning: ", file, " holds ", unused.size(),
                            " tensor(s) that this network has no place for, such as ",
                            unused.front(), "; they are not used"));
}

struct Loaded {
  TensorFile weights;
  json record;  ///< what run.json says of them
};

Loaded from_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) {
    usage_error("network.file = \"", path.string(), "\" is not a file");
  }
  const std::string bytes = read_file(path);
  return {.weights = parse_tensor_file(bytes, path.string(), /*require_digest=*/false),
          .record = {{"file", path.string()}, {"sha256", sha256_hex(bytes)}}};
}

Loaded from_run(const nn::InitialWeightsSource& source, const MachineOptions& machine) {
  const TaskNetwork opened = open_task_network(source.run, std::to_string(source.task), machine);
  TensorFile weights = to_tensor_file(opened.network);
  const std::string digest = sha256_hex(serialize_tensor_file(weights));
  return {.weights = std::move(weights),
          .record = {{"run", source.run.string()},
                     {"task", opened.task},
                     {"objective", opened.run.setup->objective->name()},
                     {"sha256", digest}}};
}

}  // namespace

json load_initial_weights(Setup& setup, const TrainOptions& options) {
  const bool branched = !options.from.empty();
  if (branched && setup.method->sharing() != train::Sharing::separate) {
    // Its first task has been learned, so the file that counts is the one that this began with.
    return train::read_run_record(origin_of(options).run).value("initial_weights", json());
  }
  const nn::InitialWeightsSource& source = setup.initial_weights;
  if (source.empty()) return {};
  Loaded loaded = source.run.empty() ? from_file(source.file) : from_run(source, options.machine);
  const nn::InitialWeightsFit fit =
      nn::check_initial_weights(setup.model->network(), loaded.weights, source.text());
  say_unused(source.text(), fit.unused);
  setup.model->set_initial_weights(std::move(loaded.weights));
  loaded.record["head"] = fit.head;
  loaded.record["unused"] = fit.unused;
  return loaded.record;
}

}  // namespace cmat::continual
