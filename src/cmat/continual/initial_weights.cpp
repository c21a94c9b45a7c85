// The weights that a new run starts from, where the config names a file.
#include "cmat/nn/initial_weights.h"

#include "cmat/continual/begin.h"
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

}  // namespace

json load_initial_weights(Setup& setup, const TrainOptions& options) {
  const bool branched = !options.from.empty();
  if (branched && setup.method->sharing() != train::Sharing::separate) {
    // Its first task has been learned, so the file that counts is the one that this began with.
    return train::read_run_record(origin_of(options).run).value("initial_weights", json());
  }
  const std::filesystem::path& path = setup.initial_weights;
  if (path.empty()) return {};
  if (!std::filesystem::is_regular_file(path)) {
    usage_error("network.file = \"", path.string(), "\" is not a file");
  }
  const std::string bytes = read_file(path);
  TensorFile file = parse_tensor_file(bytes, path.string(), /*require_digest=*/false);
  const nn::InitialWeightsFit fit =
      nn::check_initial_weights(setup.model->network(), file, path.string());
  say_unused(path.string(), fit.unused);
  setup.model->set_initial_weights(std::move(file));
  return {{"file", path.string()},
          {"sha256", sha256_hex(bytes)},
          {"head", fit.head},
          {"unused", fit.unused}};
}

}  // namespace cmat::continual
