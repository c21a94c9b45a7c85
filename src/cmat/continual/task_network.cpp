#include "cmat/continual/task_network.h"

#include "cmat/continual/find_task.h"
#include "cmat/core/error.h"
#include "cmat/nn/tensors.h"

namespace cmat::continual {
namespace {

std::vector<std::string> task_names(const Setup& setup) {
  std::vector<std::string> names;
  for (const data::Task& task : setup.stream.tasks) names.push_back(task.name);
  return names;
}

void require_finished(const Setup& setup, std::int64_t task, const std::filesystem::path& run) {
  if (task <= setup.model->committed()) return;
  usage_error("task ", task, " (", setup.task(task).name, ") of the run ", run.string(),
              " is not finished: ", setup.model->committed(), " of its ", setup.stream.tasks.size(),
              " tasks are");
}

}  // namespace

TaskNetwork open_task_network(const std::filesystem::path& folder, const std::string& asked,
                              const MachineOptions& machine) {
  TaskNetwork result;
  result.run = open_run(folder, machine);
  const Setup& setup = *result.run.setup;
  result.task = find_task(task_names(setup), asked);
  require_finished(setup, result.task, folder);
  setup.model->activate(result.task);
  result.network = nn::effective_network(setup.model->network(), setup.model->description());
  return result;
}

TensorFile to_tensor_file(const nn::EffectiveNetwork& network) {
  TensorFile file;
  for (const auto& [name, tensor] : network.state) file.tensors[name] = nn::to_bytes(tensor);
  return file;
}

}  // namespace cmat::continual
