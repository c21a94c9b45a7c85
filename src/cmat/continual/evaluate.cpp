#include <algorithm>
#include <utility>

#include "cmat/attack/registry.h"
#include "cmat/continual/evaluation_record.h"
#include "cmat/continual/out_of_memory.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/core/progress.h"
#include "cmat/eval/robust_eval.h"

namespace cmat::continual {
namespace {

/// Batches that AutoAttack is given at once: it works on full batches of what is left.
constexpr std::int64_t batches_of_auto_attack = 4;

/// One attack, or none, on one task at one radius, still to be measured.
struct Job {
  std::int64_t task;
  std::string asked;
  attack::ThreatModel threat;
  bool listed;
  std::unique_ptr<attack::Attack> attack;  ///< null: clean images
};

bool is_auto_attack(const Job& job) {
  return job.attack != nullptr && job.attack->name().starts_with("AA-");
}

/// The name of the run's own attack means that attack, with its step and start.
std::unique_ptr<attack::Attack> make_attack(const std::string& name,
                                            const attack::ThreatModel& threat, const Setup& setup,
                                            std::int64_t number) {
  const train::Settings& settings = setup.settings;
  if (!(threat.eps_pixels > 0)) {
    usage_error("attack \"", name, "\" needs a radius above 0: say which with --eps");
  }
  const bool own_threat =
      threat.norm == settings.threat.norm && threat.eps_pixels == settings.threat.eps_pixels;
  if (own_threat && name == settings.evaluation.attack_name)
    return attack::make_pgd(settings.evaluation.attack);
  return attack::make_attack(
      name, threat,
      {.classes = static_cast<std::int64_t>(setup.task(number).classes.size()),
       .batch = settings.evaluation.batch});
}

std::vector<attack::ThreatModel> chosen_threats(const EvaluateOptions& options,
                                                const attack::ThreatModel& of_run) {
  attack::ThreatModel threat = of_run;
  if (!options.norm.empty()) threat.norm = attack::parse_norm(options.norm, "--norm");
  if (options.eps.empty() && threat.norm != of_run.norm) {
    usage_error("--norm ", options.norm, " needs --eps: the run's radius is one of ",
                attack::norm_name(of_run.norm), ", which means something else");
  }
  if (options.eps.empty()) return {threat};
  std::vector<attack::ThreatModel> threats;
  for (const std::string& eps : options.eps) {
    threat.eps_pixels = parse_eps_pixels(eps, "--eps", attack::largest_eps_pixels(threat.norm));
    for (const attack::ThreatModel& other : threats) {
      if (other.eps_pixels == threat.eps_pixels)
        usage_error("--eps names the radius ", format_eps(threat.eps_pixels), " twice");
    }
    threats.push_back(threat);
  }
  return threats;
}

/// Task by task, so that the time one task took tells how long the others will. Clean images come
/// first, asked for or not: the worst case needs them.
std::vector<Job> plan(const Setup& setup, const std::vector<std::int64_t>& tasks,
                      const std::vector<attack::ThreatModel>& threats,
                      const std::vector<std::string>& names) {
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (std::find(names.begin(), name, *name) != name)
      usage_error("--attack names \"", *name, "\" twice");
  }
  const bool clean = std::find(names.begin(), names.end(), "clean") != names.end();
  std::vector<Job> jobs;
  for (std::int64_t task : tasks) {
    jobs.push_back({task, "clean", {}, clean, nullptr});
    for (const attack::ThreatModel& threat : threats) {
      for (const std::string& name : names) {
        if (name == "clean") continue;
        jobs.push_back({task, name, threat, true, make_attack(name, threat, setup, task)});
      }
    }
  }
  return jobs;
}

/// At most `limit` test images, the same number of each class as far as there are enough.
std::vector<std::int64_t> limited(const data::ImageSet& images, const data::Task& task,
                                  std::int64_t limit) {
  if (limit <= 0 || limit >= static_cast<std::int64_t>(task.test.size())) return task.test;
  std::vector<std::int64_t> taken(task.classes.size(), 0), chosen;
  const auto classes = static_cast<std::int64_t>(task.classes.size());
  for (std::int64_t index : task.test) {
    const auto label =
        static_cast<std::size_t>(task.label_of(images.labels[static_cast<std::size_t>(index)]));
    const std::int64_t share =
        limit / classes + (static_cast<std::int64_t>(label) < limit % classes ? 1 : 0);
    if (taken[label] < share) {
      ++taken[label];
      chosen.push_back(index);
    }
  }
  return chosen;
}

std::vector<std::int64_t> chosen_tasks(const Setup& setup, const std::vector<std::int64_t>& asked) {
  if (setup.model->committed() == 0)
    failure("the run has not finished a task yet, so there is nothing to measure");
  std::vector<std::int64_t> tasks = asked;
  if (tasks.empty()) {
    for (std::int64_t t = 1; t <= setup.model->committed(); ++t) tasks.push_back(t);
  }
  for (std::int64_t t : tasks) {
    if (t < 1 || t > setup.model->committed()) {
      usage_error("--tasks names task ", t, ", but the run has finished tasks 1 to ",
                  setup.model->committed());
    }
  }
  for (auto t = tasks.begin(); t != tasks.end(); ++t) {
    if (std::find(tasks.begin(), t, *t) != t) usage_error("--tasks names task ", *t, " twice");
  }
  return tasks;
}

/// `progress` hears the number of images that are done. REQUIRES the task to be active.
Measurement measure(Setup& setup, const Job& job, const std::vector<std::int64_t>& indices,
                    const eval::EvalProgress& progress) {
  const data::Task& task = setup.task(job.task);
  attack::Attack* attack = job.attack.get();
  eval::EvalOptions options = setup.eval_options();
  if (is_auto_attack(job)) options.batches_at_once = batches_of_auto_attack;
  return {.task = job.task,
          .task_name = task.name,
          .classes = static_cast<std::int64_t>(task.classes.size()),
          .asked = job.asked,
          .attack = is_auto_attack(job) ? attack->name() : job.asked,
          .recipe = attack ? attack->recipe() : "",
          .eps_pixels = attack ? job.threat.eps_pixels : 0,
          .listed = job.listed,
          .verdicts = eval::evaluate(setup.model->network(), task.source->test, task, indices,
                                     attack, options, setup.test_draws(job.task), progress)};
}

std::vector<Measurement> measure(Setup& setup, const std::vector<Job>& jobs, std::int64_t limit) {
  const auto images = [&](const Job& job) {
    const data::Task& task = setup.task(job.task);
    return limited(task.source->test, task, limit);
  };
  // Beside attacks, clean images take no time, and would make the first ETAs far too short.
  const bool attacked = jobs.back().attack != nullptr;
  const auto weight = [&](const Job& job) { return attacked && !job.attack ? 0.0 : 1.0; };
  double total = 0, done = 0;
  for (const Job& job : jobs) total += weight(job) * static_cast<double>(images(job).size());
  Progress progress("images", total);
  std::vector<Measurement> measurements;
  std::int64_t active = 0;
  for (const Job& job : jobs) {
    if (std::exchange(active, job.task) != job.task) setup.model->activate(job.task);
    const std::vector<std::int64_t> indices = images(job);
    std::string label = text("task ", job.task, " ", setup.task(job.task).name, ": ", job.asked);
    if (job.attack) label += text(" eps ", format_eps(job.threat.eps_pixels));
    progress.update(done, label);
    measurements.push_back(measure(setup, job, indices, [&](std::int64_t n) {
      progress.update(done + weight(job) * static_cast<double>(n), label);
    }));
    done += weight(job) * static_cast<double>(indices.size());
  }
  return measurements;
}

std::vector<std::uint8_t> to_pixels(const at::Tensor& image) {
  const at::Tensor bytes =
      image.mul(255).round().clamp(0, 255).to(at::kCPU, at::kByte).contiguous();
  const auto* p = bytes.const_data_ptr<std::uint8_t>();
  return {p, p + bytes.numel()};
}

/// Of each class of a task the first test image that is classified rightly, attacked.
void add_examples(Setup& setup, std::int64_t number, attack::Attack& attack,
                  std::vector<Example>& examples) {
  const data::Task& task = setup.task(number);
  const data::ImageSet& images = task.source->test;
  setup.model->activate(number);
  std::vector<std::int64_t> candidates =
      limited(images, task, 8 * static_cast<std::int64_t>(task.classes.size()));
  // The batch size of every evaluation, and its draws, so that the picture shows what was measured.
  const auto size = static_cast<std::size_t>(setup.settings.evaluation.batch);
  if (candidates.size() < size) candidates.resize(size, candidates.front());
  const defense::Batch batch =
      defense::make_batch(images, task, candidates, {}, {}, setup.model->options().device);
  const std::unique_ptr<attack::Classifier> model = attack::make_classifier(setup.model->network());
  const at::Tensor clean = model->verdict_logits(batch.images).argmax(1).to(at::kCPU);
  const auto result =
      attack.run(*model, batch.images, batch.labels, batch.sample_ids, setup.test_draws(number));
  const at::Tensor attacked = result.predictions.to(at::kCPU), labels = batch.labels.to(at::kCPU);
  const auto at = [](const at::Tensor& t, std::int64_t i) {
    return static_cast<std::size_t>(t.const_data_ptr<std::int64_t>()[i]);
  };
  for (std::size_t label = 0; label < task.classes.size(); ++label) {
    for (std::int64_t i = 0; i < batch.images.size(0); ++i) {
      if (at(labels, i) != label || at(clean, i) != label) continue;
      examples.push_back({to_pixels(batch.images[i]), to_pixels(result.adversarial[i]),
                          task.class_names[label], task.class_names[label],
                          task.class_names[at(attacked, i)], at(attacked, i) != label});
      break;
    }
  }
}

/// Fills everything but the results, for the last attack of the list at the last radius.
void illustrate(Setup& setup, const std::vector<std::int64_t>& tasks, const std::vector<Job>& jobs,
                Evaluation& evaluation) {
  if (jobs.back().attack == nullptr)
    usage_error("adversarial examples need an attack, say --attack apgd-ce");
  const Job& last = jobs.back();
  const data::ImageSet& images = setup.task(tasks.front()).source->test;
  for (std::int64_t number : tasks) {
    const data::ImageSet& other = setup.task(number).source->test;
    if (other.height == images.height && other.width == images.width) continue;
    usage_error("the images of task ", number, " have another size than those of task ",
                tasks.front(), ": draw tasks of one size together, with --tasks");
  }
  evaluation.channels = images.channels;
  evaluation.height = images.height;
  evaluation.width = images.width;
  evaluation.title = text(setup.method->label(), " with ", setup.objective->name(), " on ",
                          setup.stream.source_names());
  evaluation.caption = text(last.attack->name(), ", ", attack::norm_name(last.threat.norm), " eps ",
                            format_eps(last.threat.eps_pixels),
                            "; of each class the first test image that is classified rightly");
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const bool last_of_task = i + 1 == jobs.size() || jobs[i + 1].task != jobs[i].task;
    if (last_of_task) add_examples(setup, jobs[i].task, *jobs[i].attack, evaluation.examples);
  }
}

}  // namespace

std::vector<std::string> known_attacks() {
  std::vector<std::string> names = {"clean"};
  for (const attack::AttackName& each : attack::attack_names()) names.push_back(each.name);
  return names;
}

Evaluation evaluate(const std::filesystem::path& folder, const EvaluateOptions& options) try {
  OpenedRun run = open_run(folder, options.machine);
  Setup& setup = *run.setup;
  const std::vector<attack::ThreatModel> threats = chosen_threats(options, setup.settings.threat);
  const std::vector<std::int64_t> tasks = chosen_tasks(setup, options.tasks);
  const std::vector<Job> jobs = plan(setup, tasks, threats, options.attacks);
  Evaluation evaluation;
  // Drawn first, so that what cannot be drawn is refused before hours of measuring.
  if (options.examples) illustrate(setup, tasks, jobs, evaluation);
  evaluation.results = evaluation_record(threats, measure(setup, jobs, options.limit));
  return evaluation;
} catch (...) {
  rethrow_explained();
}

}  // namespace cmat::continual
