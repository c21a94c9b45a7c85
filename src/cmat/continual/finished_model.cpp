#include "cmat/continual/finished_model.h"

#include "cmat/continual/certificate.h"
#include "cmat/core/error.h"
#include "cmat/nn/description_json.h"
#include "cmat/nn/tensors.h"

namespace cmat::continual {
namespace {

using nlohmann::json;
using train::RunState;

const char* sharing_name(train::Sharing sharing) {
  switch (sharing) {
    case train::Sharing::owned:
      return "owned";
    case train::Sharing::separate:
      return "separate";
    case train::Sharing::overwritten:
      return "overwritten";
  }
  return "";
}

/// What a program needs to build each task's network without knowing CMAT's architectures.
json networks_json(const Setup& setup) {
  std::vector<double> widths;
  json descriptions = json::array(), of_task = json::array();
  for (const nn::TaskPart& part : setup.model->parts()) {
    if (widths.empty() || widths.back() != part.width) {  // networks only ever grow
      widths.push_back(part.width);
      descriptions.push_back(nn::to_json(nn::at_width(setup.description, part.width)));
    }
    of_task.push_back(widths.size() - 1);
  }
  return {{"sharing", sharing_name(setup.method->sharing())},
          {"descriptions", descriptions},
          {"tasks", of_task}};
}

/// What of a run's state outlasts it.
RunState lasting(const RunState& state) {
  RunState kept;
  kept.phase = RunState::Phase::finished;
  kept.task = state.task;
  kept.certificates = state.certificates;
  kept.evaluations = state.evaluations;
  kept.scores = state.scores;
  kept.weights = state.weights;
  return kept;
}

}  // namespace

TensorFile finished_model(Setup& setup, const RunState& state) {
  TensorFile file;
  setup.model->save(file, "model/", /*training=*/false);
  for (std::int64_t task = 1; task <= setup.model->committed(); ++task) {
    setup.model->activate(task);
    const train::Certificate& certificate = state.certificates[static_cast<std::size_t>(task - 1)];
    file.tensors[text("certificate/task", task, "/logits")] =
        nn::to_bytes(probe_logits(setup, task, certificate.probe));
  }
  file.metadata["state"] = train::to_json(lasting(state)).dump();
  file.metadata["config"] = setup.resolved;
  file.metadata["networks"] = networks_json(setup).dump();
  return file;
}

}  // namespace cmat::continual
