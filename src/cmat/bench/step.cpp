// A training step as the training loop makes it, its parts, and its memory.
#include <c10/core/GradMode.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "cmat/attack/pgd.h"
#include "cmat/attack/projection.h"
#include "cmat/bench/workload.h"
#include "cmat/core/error.h"
#include "cmat/defense/batch.h"
#include "cmat/train/stage_runner.h"

namespace cmat::bench {
namespace {

using continual::Setup;

/// Trains repeats + 1 steps of the active task and returns the times of all but the first. After
/// each of these comes what is done `between` steps.
std::vector<double> train_steps(Setup& setup, const Options& options,
                                const std::function<void()>& between = {}) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  Clock::time_point start;
  train::RunState state;
  state.task = options.task;
  train::StageHooks hooks;
  hooks.after_step = [&] {
    if (state.steps_done > 1) {
      times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      if (between) between();
    }
    start = Clock::now();
    return state.steps_done > options.repeats;
  };
  hooks.on_event = [&](const nlohmann::json& event) {
    if (event.at("event") == "retry") failure("the loss of the measured steps was not finite");
  };
  train::StageRunner runner(setup.settings, setup.stream, *setup.objective, *setup.model, state,
                            hooks);
  runner.warm_up_norms();
  state.accepted = setup.model->snapshot();
  runner.start({.kind = "train", .epochs = 1});
  train::StageOutcome outcome;
  runner.run(outcome);
  return times;
}

double attack_seconds(Setup& setup, const Options& options) {
  const defense::Batch batch = first_batch(setup, options);
  attack::PgdOptions pgd;
  pgd.threat = setup.settings.threat;
  pgd.steps = static_cast<int>(options.attack_steps);
  pgd.step_pixels = attack::default_step_pixels(pgd.threat.eps_pixels, pgd.steps);
  return median_seconds(options.repeats, [&] {
    const auto classifier = attack::make_classifier(setup.model->network());
    const at::Tensor start = attack::random_start(batch.images, batch.sample_ids, pgd.threat, {});
    attack::pgd_iterate(*classifier, batch.images, start, batch.labels, pgd);
  });
}

/// Everything after the gradients, with real gradients, since their layout is autograd's choice.
double bank_seconds(Setup& setup, const Options& options) {
  train::Model& model = *setup.model;
  const defense::StepLoss loss =
      setup.objective->step(model.network(), first_batch(setup, options), {});
  const nn::SplitGradients gradients = nn::split_gradients(
      model.network(), model.shared_names(), defense::weight_gradients(loss, model.network()));
  nn::UpdateOptions update;
  update.sgd.lr = 1e-6;
  return median_seconds(options.repeats, [&] {
    const c10::NoGradGuard no_grad;
    model.bank().update(gradients.shared, update);
    model.part_optimizer().update(gradients.own, update.sgd);
    model.part_optimizer().average(update.average_decay);
  });
}

}  // namespace

nlohmann::json step(const Options& options) {
  const std::unique_ptr<Setup> setup = make_workload(options);
  begin_last_task(*setup, options);
  PassTimes passes(*setup, options);
  const std::vector<double> times = train_steps(*setup, options, [&] { passes.measure(); });
  const double seconds = median(times);
  const double bank = bank_seconds(*setup, options);
  nlohmann::json result = described(options);
  result["bench"] = "step";
  result["seconds_per_step"] = seconds;
  result["images_per_second"] = static_cast<double>(options.batch) / seconds;
  result["fastest_seconds"] = *std::min_element(times.begin(), times.end());
  result["slowest_seconds"] = *std::max_element(times.begin(), times.end());
  result["bank_seconds"] = bank;
  if (options.objective == "pgd-at") {
    const double attack = attack_seconds(*setup, options);
    result["attack_seconds"] = attack;
    result["weight_seconds"] = std::max(0.0, seconds - attack - bank);
  }
  const defense::Passes p = setup->objective->passes();
  result["passes"] = {{"attack", p.attack},
                      {"look", p.look},
                      {"train_forward", p.train_forward},
                      {"train_backward", p.train_backward}};
  std::vector<double> ratios;
  for (std::size_t i = 0; i < times.size(); ++i)
    ratios.push_back(times[i] / (passes.sums()[i] + bank));
  result["predicted_seconds"] = median(passes.sums()) + bank;
  result["ratio"] = median(ratios);
  result["smallest_ratio"] = *std::min_element(ratios.begin(), ratios.end());
  result["largest_ratio"] = *std::max_element(ratios.begin(), ratios.end());
  return result;
}

nlohmann::json memory(const Options& options) {
  const std::unique_ptr<Setup> setup = make_workload(options);
  begin_last_task(*setup, options);
  train_steps(*setup, options);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const std::int64_t weights = setup->model->bank().weights();
  const double commit = seconds_of([&] { setup->model->commit(); });
  const double activate = seconds_of([&] { setup->model->activate(options.task); });
  const nn::TaskPart& part = setup->model->parts().back();
  nlohmann::json result = described(options);
  result["bench"] = "memory";
  result["peak_resident_bytes"] = std::int64_t{usage.ru_maxrss} * 1024;
  result["weights"] = weights;
  result["pick_bytes"] = part.pick_bytes();
  result["part_bytes"] = part.tensor_bytes();
  result["task_bytes"] = part.pick_bytes() + part.tensor_bytes();
  result["commit_seconds"] = commit;
  result["activate_seconds"] = activate;
  result["largest_task_bytes"] = (weights + 7) / 8 + part.tensor_bytes();
  return result;
}

}  // namespace cmat::bench
