#include "cmat/bench/workload.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <span>

#include "cmat/core/error.h"

namespace cmat::bench {
namespace {

Config config_of(const Options& o) {
  const std::int64_t images = o.batch * (o.repeats + 1);
  Config config = Config::parse("", "the options of cmat bench");
  for (const std::string& line :
       {text("data.synthetic.classes=", o.classes * o.task), text("data.synthetic.channels=", 3),
        text("data.synthetic.height=", 32), text("data.synthetic.width=", 32),
        text("data.synthetic.train_per_class=", (images + o.classes - 1) / o.classes),
        text("data.synthetic.test_per_class=", 1), text("data.validation=", 0.0),
        text("stream.classes_per_task=", o.classes), text("network.width=", o.width),
        text("objective.steps=", o.attack_steps), text("optimizer.batch=", o.batch),
        text("optimizer.norm_warmup=", 1), text("train.epochs=", 1), text("train.lr=", 0.01)}) {
    config.set(line);
  }
  config.set("stream.split=\"chunks\"");
  config.set(text("network.kernels=\"", o.kernels, "\""));
  config.set(text("network.architecture=\"", o.network, "\""));
  config.set(text("objective.name=\"", o.objective, "\""));
  // Steps that the guard checks cost more than the others.
  config.set("objective.guard_every=0");
  for (const std::string& assignment : o.set) config.set(assignment);
  return config;
}

}  // namespace

std::unique_ptr<continual::Setup> make_workload(const Options& options) {
  const continual::MachineOptions machine =
      continual::prepare_machine({.threads = options.threads, .device = "cpu"});
  return continual::make_setup(config_of(options), machine);
}

void begin_last_task(continual::Setup& setup, const Options& options) {
  train::Model& model = *setup.model;
  for (std::int64_t task = 1; task < options.task; ++task) {
    model.begin_task(options.classes);
    model.begin_stage(/*average=*/false);
    model.bank().prune(0.5);
    model.commit();
  }
  model.begin_task(options.classes);
}

defense::Batch first_batch(const continual::Setup& setup, const Options& options) {
  const data::Task& task = setup.task(options.task);
  return defense::make_batch(task.source->train, task,
                             std::span(task.train).first(static_cast<std::size_t>(options.batch)),
                             setup.settings.augmentation, {}, at::kCPU);
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<double> times_of(int repeats, const std::function<void()>& work,
                             const std::function<void()>& prepare) {
  std::vector<double> times;
  for (int i = 0; i <= repeats; ++i) {
    if (prepare) prepare();
    const double seconds = seconds_of(work);
    if (i > 0) times.push_back(seconds);
  }
  return times;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

nlohmann::json described(const Options& o) {
  return {{"network", o.network},     {"width", o.width},
          {"batch", o.batch},         {"attack_steps", o.attack_steps},
          {"task", o.task},           {"classes", o.classes},
          {"objective", o.objective}, {"threads", at::get_num_threads()},
          {"repeats", o.repeats}};
}

}  // namespace cmat::bench
