// cmat eval: a run's networks under attack.
#include <algorithm>

#include "cmat/attack/as_published.h"
#include "cmat/attack/registry.h"
#include "cmat/continual/evaluation_question.h"
#include "cmat/continual/evaluator.h"
#include "cmat/continual/out_of_memory.h"
#include "cmat/continual/results.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/fraction.h"
#include "cmat/core/progress.h"
#include "cmat/core/version.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The name of the run's own attack means that attack, with its step and start.
std::unique_ptr<attack::Attack> make_attack(const NamedAttack& named,
                                            const attack::ThreatModel& threat, std::int64_t classes,
                                            const train::Settings& settings, bool for_transfer) {
  const bool own_threat = threat.norm == settings.threat.norm &&
                          threat.eps_pixels == settings.threat.eps_pixels &&
                          !settings.threat.as_published;
  const bool own = own_threat && named.name == settings.evaluation.attack_name;
  if (own && named.step_share < 0 && !for_transfer && threat.eps_pixels > 0)
    return attack::make_pgd(settings.evaluation.attack);
  return make_named_attack(named, threat, classes, settings.evaluation.batch, for_transfer);
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

std::vector<std::int64_t> chosen_tasks(const Setup& setup, const EvaluateOptions& options) {
  if (setup.model->committed() == 0)
    failure("the run has not finished a task yet, so there is nothing to measure");
  std::vector<std::int64_t> tasks = options.tasks;
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
  if (options.protocol == "transfer" && options.source == "tasks") {
    std::erase(tasks, 1);
    if (tasks.empty()) usage_error("no task comes before task 1: choose later ones with --tasks");
  }
  return tasks;
}

/// What --as-published leaves of the other options.
EvaluateOptions as_published(EvaluateOptions options) {
  if (!options.as_published) return options;
  if (!options.eps.empty() || !options.norm.empty() || !options.curve.empty() ||
      !options.targets.empty() || options.protocol != "task-aware") {
    usage_error("--as-published has a threat model of its own: leave out --eps, --norm, --curve, ",
                "--targets and --protocol");
  }
  options.attacks = {"clean", "as-published"};
  options.checks = false;  // they speak of honest radii
  return options;
}

/// What the classes of a task begin at, as the judge counts them.
std::int64_t first_label_of(const Setup& setup, std::int64_t number, const std::string& protocol) {
  std::int64_t first = 0;
  if (protocol != "class-incremental") return first;
  for (std::int64_t t = 1; t < number; ++t) first += std::ssize(setup.task(t).classes);
  return first;
}

/// Targets for which the protocol and every task have a class.
ChosenTargets chosen_targets(const Setup& setup, const EvaluateOptions& options,
                             const std::vector<std::int64_t>& tasks) {
  const ChosenTargets targets = parse_targets(options.targets);
  if (!targets.any()) return targets;
  if (options.protocol == "transfer") {
    usage_error(
        "--targets sends attacks to classes of the network that they see, which need not be ",
        "those of the judge under --protocol transfer: use task-aware or class-incremental");
  }
  const bool together = options.protocol == "class-incremental";
  for (std::int64_t t : tasks) {
    const std::int64_t classes =
        together ? first_label_of(setup, setup.model->committed() + 1, options.protocol)
                 : std::ssize(setup.task(t).classes);
    if (targets.one < classes) continue;
    usage_error("--targets ", targets.asked,
                together ? ": all tasks have" : text(": task ", t, " has"), " the classes 0 to ",
                classes - 1);
  }
  return targets;
}

/// The run's own, if it was made under that threat model.
attack::AsPublishedOptions published_attack(const Setup& setup) {
  const attack::PgdOptions& own = setup.settings.evaluation.attack;
  if (own.threat.as_published) return attack::as_published_options(own);
  return {};
}

Contestants contestants(Setup& setup, std::int64_t number, std::int64_t limit,
                        const ChosenTargets& targets, std::int64_t first_label,
                        std::int64_t& left_out) {
  const data::Task& task = setup.task(number);
  const data::ImageSet& test = task.source->test;
  const std::vector<std::int64_t> chosen_images = limited(test, task, limit);
  std::vector<std::int64_t> labels;
  for (std::int64_t i : chosen_images)
    labels.push_back(task.label_of(test.labels[static_cast<std::size_t>(i)]));
  const Key key = setup.test_draws(number);
  return {.task = number,
          .name = task.name,
          .class_names = task.class_names,
          .indices = targets.with_a_way(chosen_images, labels, first_label, left_out),
          .batches =
              [&task, key,
               device = setup.model->options().device](std::span<const std::int64_t> chosen) {
                return defense::make_batch(task.source->test, task, chosen, {}, key, device);
              },
          .draws = key};
}

/// What cannot be drawn is refused before hours of measuring. Fills everything but results and
/// images.
void announce_pictures(Setup& setup, const std::vector<std::int64_t>& tasks,
                       const EvaluateOptions& options, const attack::Attack* last,
                       const attack::ThreatModel& threat, Evaluation& evaluation) {
  if (!last) usage_error("adversarial examples need an attack, say --attack apgd-ce");
  if (options.protocol != "task-aware")
    usage_error("adversarial examples are drawn for --protocol task-aware only");
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
  evaluation.caption = text(last->name(), ", ", attack::norm_name(threat.norm), " eps ",
                            format_eps(threat.eps_pixels),
                            "; of each class the first test image that is classified rightly");
}

void check_save_adversarial(const fs::path& file) {
  if (file.empty()) return;
  const fs::path parent = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!fs::is_directory(parent)) {
    usage_error("--save-adversarial ", file.string(), ": there is no folder ", parent.string());
  }
  if (fs::exists(parent / "run.json") || fs::is_directory(file)) {
    usage_error("--save-adversarial ", file.string(), " needs the name of a file outside of the ",
                "files of a run: put it elsewhere");
  }
}

EvaluatorOptions evaluator_options(const Setup& setup, const EvaluateOptions& options,
                                   const std::vector<std::int64_t>& tasks) {
  const AskedAttacks asked{options.attacks, options.eps, options.norm, options.curve};
  EvaluatorOptions o;
  if (options.as_published)
    o.threats = {{attack::Norm::linf, published_attack(setup).eps_normalised, true}};
  else
    o.threats = chosen_threats(asked, setup.settings.threat, "the run's");
  o.attacks = named_attacks(asked);
  o.targets = chosen_targets(setup, options, tasks);
  o.clean_listed = asks_for_clean(asked);
  o.checks = options.checks;
  o.examples = options.examples;
  o.keep_images = !options.save_adversarial.empty();
  o.eval = setup.eval_options();
  o.curve = options.curve;
  return o;
}

MakeAttack attack_maker(const Setup& setup, const EvaluateOptions& options) {
  return [&](const NamedAttack& named, const attack::ThreatModel& threat, std::int64_t classes) {
    if (options.as_published) return attack::make_as_published(published_attack(setup));
    return make_attack(named, threat, classes, setup.settings, options.protocol == "transfer");
  };
}

/// Every attack is made before anything is measured, so that what cannot be made is refused at
/// once. Returns the last, if there is one.
std::unique_ptr<attack::Attack> made_once(const EvaluatorOptions& o, const MakeAttack& make) {
  std::unique_ptr<attack::Attack> last;
  for (const attack::ThreatModel& threat : o.threats) {
    for (const NamedAttack& named : o.attacks) {
      last = make(named, threat, 2);
      if (o.targets.any() && !last->takes_targets()) attack::refuse_targets(named.name);
    }
  }
  return last;
}

struct AllContestants {
  std::vector<Contestants> tasks;
  std::int64_t left_out = 0;  ///< images that are of the chosen class already
};

AllContestants all_contestants(Setup& setup, const std::vector<std::int64_t>& tasks,
                               const EvaluateOptions& options, const ChosenTargets& targets) {
  AllContestants all;
  for (std::int64_t t : tasks) {
    const std::int64_t first_label = first_label_of(setup, t, options.protocol);
    all.tasks.push_back(contestants(setup, t, options.limit, targets, first_label, all.left_out));
  }
  return all;
}

/// Returns how many seconds it took.
double measure_all(Evaluator& evaluator, Protocol& protocol, const std::vector<Contestants>& tasks,
                   const EvaluateOptions& options, const EvaluationJournal& journal) {
  const bool with_white_box =
      options.protocol == "transfer" && options.checks && !fs::is_regular_file(options.source);
  double total = 0;
  for (const Contestants& task : tasks) total += evaluator.weight(task, with_white_box);
  Progress progress("images", total, static_cast<double>(journal.images()));
  for (const Contestants& task : tasks) evaluator.measure(protocol, task, progress);
  return progress.seconds();
}

/// What was asked, for whoever reads the record.
void add_question(const fs::path& folder, const EvaluateOptions& options, json& results) {
  if (options.as_published) {
    results["protocol"] = "as-published";
    results["note"] =
        "the original program's threat model: eps in units of normalised images, clamped to [0,1] "
        "there; not comparable with any radius in pixels";
  }
  results["run"] = fs::absolute(folder).lexically_normal().filename().string();
  results["options"] = options_text(options);
  if (!options.source.empty()) results["source"] = options.source;
  results["limit"] = options.limit;
}

}  // namespace

std::vector<std::string> known_attacks() {
  std::vector<std::string> names = {"clean"};
  for (const attack::AttackName& each : attack::attack_names()) names.push_back(each.name);
  return names;
}

Evaluation evaluate(const fs::path& folder, const EvaluateOptions& given) try {
  const EvaluateOptions options = as_published(given);
  check_save_adversarial(options.save_adversarial);
  OpenedRun run = open_run(folder, options.machine);
  Setup& setup = *run.setup;
  const std::vector<std::int64_t> tasks = chosen_tasks(setup, options);
  const EvaluatorOptions o = evaluator_options(setup, options, tasks);
  const MakeAttack make = attack_maker(setup, options);
  const std::unique_ptr<attack::Attack> last = made_once(o, make);
  Evaluation evaluation;
  if (options.examples)
    announce_pictures(setup, tasks, options, last.get(), o.threats.back(), evaluation);
  const std::unique_ptr<Protocol> protocol =
      make_protocol(options.protocol, options.source, setup, run.machine);

  const std::string machine = logits_key(setup.settings, run.machine);
  std::string name;
  EvaluationJournal journal;
  if (options.save) {
    const json identity = identity_of(folder, options, o.threats, tasks, machine);
    name = evaluation_name(identity);
    // Verdicts can be taken up again, images and pictures cannot.
    if (!o.keep_images && !o.examples)
      journal = EvaluationJournal(folder / "evaluations" / (name + ".partial"), identity);
  }
  Evaluator evaluator(o, make, journal);
  const AllContestants all = all_contestants(setup, tasks, options, o.targets);
  const double seconds = measure_all(evaluator, *protocol, all.tasks, options, journal);

  evaluation.results = evaluator.record(protocol->name());
  evaluation.examples = std::move(evaluator.examples());
  json& results = evaluation.results;
  add_question(folder, options, results);
  if (o.targets.any())
    results["targets"] = {{"asked", o.targets.asked}, {"left_out", all.left_out}};
  results["seconds"] = seconds;
  results["program"] = text("cmat ", kVersion);
  results["machine"] = machine;
  if (o.keep_images) {
    evaluator.images().write(options.save_adversarial,
                             {{"program", text("cmat ", kVersion)},
                              {"protocol", options.protocol},
                              {"norm", attack::norm_name(o.threats.front().norm)}});
  }
  if (options.save) {
    fs::create_directories(folder / "evaluations");
    evaluation.saved = folder / "evaluations" / (name + ".json");
    write_file_atomic(evaluation.saved, results.dump(1) + "\n");
    journal.remove();
  }
  return evaluation;
} catch (...) {
  rethrow_explained();
}

}  // namespace cmat::continual
