#include "cmat/continual/estimate.h"

#include <ATen/Functions.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "cmat/defense/batch.h"
#include "cmat/train/stage_runner.h"

namespace cmat::continual {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::int64_t stages_of(const train::Settings& s, std::int64_t task) {
  const bool pae = s.method.name == "pae";
  const bool progressive =
      (s.method.name == "cmat" || pae) && s.method.compaction == "progressive";
  const std::int64_t compactions =
      progressive ? static_cast<std::int64_t>(s.method.targets.size()) : 1;
  const std::int64_t repick = progressive && (task == 1 || pae) ? 0 : s.repick.epochs;
  return s.train.epochs + compactions * s.compact.epochs + repick;
}

/// One optimiser step on a network of the same shape that nothing else uses.
double step_seconds(Setup& setup) {
  const auto network =
      nn::build_network(setup.description, at::kFloat, setup.model->options().device);
  network->use_frozen(setup.model->options().frozen);
  nn::initialize(*network, setup.description, 0, 0);
  const data::Task& task = setup.stream.tasks.front();
  const auto size = static_cast<std::size_t>(train::batch_size(setup.settings, task));
  const defense::Batch batch =
      defense::make_batch(task.source->train, task, std::span(task.train).first(size),
                          setup.settings.augmentation, {}, setup.model->options().device);
  const auto step = [&] {
    const auto result = setup.objective->step(*network, batch, {});
    defense::weight_gradients(result, *network);
    result.loss.item<double>();  // waits for a device that computes in the background
  };
  step();  // the first one pays for allocations and kernel selection
  const double seconds = std::min(seconds_of(step), seconds_of(step));
  setup.objective->begin_stage();  // forgets them
  return seconds;
}

}  // namespace

std::int64_t planned_steps(const Setup& setup, std::int64_t first_task) {
  std::int64_t steps = 0;
  const std::vector<data::Task>& tasks = setup.learned().tasks;
  for (std::int64_t task = first_task; task <= std::ssize(tasks); ++task) {
    steps += stages_of(setup.settings, task) *
             train::steps_per_epoch(setup.settings, tasks[static_cast<std::size_t>(task - 1)]);
  }
  return steps;
}

Estimate estimate(Setup& setup, std::int64_t first_task) {
  Estimate e;
  e.steps = planned_steps(setup, first_task);
  const double step = step_seconds(setup);
  const attack::PgdOptions& pgd = setup.settings.evaluation.attack;
  // An attack's pass over a batch costs about two thirds of a training pass (no weight gradients),
  // and a third is the way forward.
  const defense::Passes passes = setup.objective->passes();
  const double training_passes =
      0.33 * (passes.look + passes.train_forward) + 0.67 * (passes.attack + passes.train_backward);
  const double per_image =
      step / static_cast<double>(setup.settings.optimizer.batch) / training_passes * 0.67;
  double evaluated = 0;
  const bool again = setup.method->sharing() == train::Sharing::overwritten;
  const auto tasks = static_cast<double>(setup.stream.tasks.size());
  for (const data::Task& t : setup.stream.tasks) {
    evaluated += static_cast<double>(t.test.size()) * (again ? (tasks + 1) / 2 : 1);
  }
  e.seconds = step * static_cast<double>(e.steps) +
              per_image * evaluated * (1.0 + pgd.steps * (1.0 + 0.5 * (pgd.restarts - 1)));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  e.memory_bytes = static_cast<double>(usage.ru_maxrss) * 1024;
  double weights = 0;
  for (const auto& p : setup.model->network().parameters())
    weights += static_cast<double>(p.tensor.nbytes());
  const bool separate = setup.method->sharing() == train::Sharing::separate;
  // Values, owners, momentum, average, picks with two moments, and two snapshots.
  const double training = weights * 9;
  const double stored = weights * (separate ? tasks : 1.25);
  e.disk_bytes = 2 * (training + stored) + stored;
  e.memory_bytes += training + stored;
  return e;
}

}  // namespace cmat::continual
