#include <algorithm>
#include <charconv>
#include <functional>

#include "cmat/continual/out_of_memory.h"
#include "cmat/continual/results.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/core/progress.h"
#include "cmat/eval/metrics.h"
#include "cmat/eval/robust_eval.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

[[noreturn]] void refuse_attack(const std::string& name) {
  usage_error("there is no attack \"", name,
              "\": use clean, fgsm, pgdN or pgdNxR, say pgd20x2 for 20 steps and 2 restarts");
}

int parse_count(std::string_view digits, const std::string& name) {
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 1 || value > 100000) {
    refuse_attack(name);
  }
  return value;
}

/// Null for "clean". The name of the run's own attack means that attack, with its step and start.
std::unique_ptr<attack::Attack> parse_attack(const std::string& name,
                                             const attack::ThreatModel& threat,
                                             const train::Settings& settings) {
  if (name == "clean") return nullptr;
  const bool own_threat =
      threat.norm == settings.threat.norm && threat.eps_pixels == settings.threat.eps_pixels;
  if (own_threat && name == settings.evaluation.attack_name)
    return attack::make_pgd(settings.evaluation.attack);
  if (name == "fgsm") return attack::make_fgsm(threat);
  if (!name.starts_with("pgd")) refuse_attack(name);
  const std::string rest = name.substr(3);
  const std::size_t cross = rest.find('x');
  attack::PgdOptions options;
  options.threat = threat;
  options.steps = parse_count(std::string_view(rest).substr(0, cross), name);
  options.restarts =
      cross == std::string::npos ? 1 : parse_count(std::string_view(rest).substr(cross + 1), name);
  options.step_pixels = attack::default_step_pixels(threat.eps_pixels, options.steps);
  options.keep = attack::PgdOptions::Keep::best;
  options.alternate_losses = true;
  return attack::make_pgd(options);
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
  return tasks;
}

/// One row of the evaluations, but for the attack's name. `progress` hears the share that is done.
json measure(Setup& setup, std::int64_t number, attack::Attack* attack, std::int64_t limit,
             const std::function<void(double)>& progress) {
  const data::Task& task = setup.task(number);
  setup.model->activate(number);
  const std::vector<std::int64_t> indices = limited(task.source->test, task, limit);
  const eval::Verdicts v =
      eval::evaluate(setup.model->network(), task.source->test, task, indices, attack,
                     setup.eval_options(), setup.test_draws(number), [&](std::int64_t images) {
                       progress(static_cast<double>(images) / static_cast<double>(indices.size()));
                     });
  const eval::Interval interval = eval::wilson(v.correct(), v.total());
  return {{"task", number},
          {"name", task.name},
          {"recipe", attack ? attack->recipe() : ""},
          {"correct", v.correct()},
          {"total", v.total()},
          {"accuracy", static_cast<double>(v.correct()) / static_cast<double>(v.total())},
          {"interval", {interval.low, interval.high}},
          {"chance", 1.0 / static_cast<double>(task.classes.size())}};
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

}  // namespace

Evaluation evaluate(const std::filesystem::path& folder, const EvaluateOptions& options) try {
  OpenedRun run = open_run(folder, options.machine);
  Setup& setup = *run.setup;
  attack::ThreatModel threat = setup.settings.threat;
  if (!options.norm.empty()) threat.norm = attack::parse_norm(options.norm, "--norm");
  if (threat.norm != setup.settings.threat.norm && options.eps.empty()) {
    usage_error("--norm ", options.norm, " needs --eps: the run's radius is one of ",
                attack::norm_name(setup.settings.threat.norm), ", which means something else");
  }
  if (!options.eps.empty()) {
    threat.eps_pixels =
        parse_eps_pixels(options.eps, "--eps", attack::largest_eps_pixels(threat.norm));
  }
  const std::vector<std::int64_t> tasks = chosen_tasks(setup, options.tasks);
  std::vector<std::unique_ptr<attack::Attack>> attacks;
  for (const std::string& name : options.attacks)
    attacks.push_back(parse_attack(name, threat, setup.settings));
  const auto shown =
      std::find_if(attacks.rbegin(), attacks.rend(), [](const auto& a) { return a != nullptr; });
  if (options.examples && shown == attacks.rend()) {
    usage_error("adversarial examples need an attack, say --attack pgd20");
  }

  Evaluation evaluation;
  json& result = evaluation.results;
  result = {{"protocol", "task-aware"},
            {"threat_model", threat_json(threat)},
            {"evaluations", json::array()},
            {"means", json::object()}};
  Progress progress("evaluations", static_cast<double>(tasks.size() * attacks.size()));
  double done = 0;
  for (std::size_t a = 0; a < attacks.size(); ++a) {
    double sum = 0;
    for (std::int64_t number : tasks) {
      const std::string label =
          text("task ", number, " ", setup.task(number).name, ": ", options.attacks[a]);
      json row = measure(setup, number, attacks[a].get(), options.limit,
                         [&](double share) { progress.update(done + share, label); });
      row["attack"] = options.attacks[a];
      done += 1;
      sum += row.at("accuracy").get<double>();
      result["evaluations"].push_back(std::move(row));
    }
    result["means"][options.attacks[a]] = sum / static_cast<double>(tasks.size());
  }
  if (options.examples) {
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
    evaluation.title = text(setup.method->name(), " with ", setup.objective->name(), " on ",
                            setup.stream.source_names());
    evaluation.caption = text((*shown)->name(), ", ", attack::norm_name(threat.norm), " eps ",
                              format_eps(threat.eps_pixels),
                              "; of each class the first test image that is classified rightly");
    for (std::int64_t number : tasks) add_examples(setup, number, **shown, evaluation.examples);
  }
  return evaluation;
} catch (...) {
  rethrow_explained();
}

}  // namespace cmat::continual
