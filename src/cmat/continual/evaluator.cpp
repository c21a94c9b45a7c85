#include "cmat/continual/evaluator.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/eval/model_checks.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

/// Enough images for what a network itself must fulfil.
constexpr std::int64_t kImagesOfChecks = 32;

std::vector<std::uint8_t> to_pixels(const at::Tensor& image) {
  const at::Tensor bytes =
      image.mul(255).round().clamp(0, 255).to(at::kCPU, at::kByte).contiguous();
  const auto* p = bytes.const_data_ptr<std::uint8_t>();
  return {p, p + bytes.numel()};
}

/// The batch of a task with the judge's numbers for its classes.
eval::BatchMaker relabelled(const eval::BatchMaker& batches, std::int64_t first_label) {
  if (first_label == 0) return batches;
  return [=](std::span<const std::int64_t> chosen) {
    defense::Batch batch = batches(chosen);
    batch.labels = batch.labels + first_label;
    return batch;
  };
}

/// Verdicts of several sources: what broke an image first stands for it.
void merge(eval::Verdicts& all, const eval::Verdicts& more) {
  for (std::size_t i = 0; i < all.labels.size(); ++i) {
    if (all.predictions[i] != all.labels[i]) continue;
    all.predictions[i] = more.predictions[i];
    all.losses[i] = more.losses[i];
  }
  all.forwards += more.forwards;
  all.backwards += more.backwards;
}

}  // namespace

/// What one run of an attack is called and where it stands.
struct Evaluator::Job {
  std::string name, label;
  attack::ThreatModel threat;
  bool watched, pictured, kept;
};

double Evaluator::weight(const Contestants& task, bool with_white_box) const {
  const auto images = static_cast<double>(task.indices.size());
  const auto attacks = static_cast<double>(options_.attacks.size() * options_.threats.size());
  return attacks == 0 ? images : images * attacks * (with_white_box ? 2 : 1);
}

Measurement Evaluator::begin(const Contestants& task, const std::string& asked) const {
  Measurement m;
  m.task = task.task;
  m.task_name = task.name;
  m.asked = m.attack = asked;
  return m;
}

void Evaluator::measure(Protocol& protocol, const Contestants& task, Progress& progress) {
  const std::vector<Target> targets = protocol.targets(task.task);
  if (targets.empty()) failure("there is no network to attack task ", task.task, " with");
  if (options_.attacks.empty()) progress.update(done_, text("task ", task.task, " ", task.name));
  measure_clean(task, targets.front());
  if (options_.checks && !options_.attacks.empty()) check(task, targets.front());
  attack::Classifier* white_box = protocol.white_box();
  for (const attack::ThreatModel& threat : options_.threats) {
    for (const NamedAttack& named : options_.attacks) {
      measure(protocol, task, targets, named, threat, /*white_box=*/false, progress);
      if (!white_box || !options_.checks) continue;
      Target own = targets.front();
      own.attacked = white_box;
      own.attack_labels = {};
      own.source.clear();
      measure(protocol, task, {own}, named, threat, /*white_box=*/true, progress);
    }
  }
}

std::function<at::Tensor(const defense::Batch&)> Evaluator::targets_of(const Target& target) const {
  if (!options_.targets.any()) return {};
  return [this, classes = target.classes](const defense::Batch& batch) {
    return options_.targets.of(batch, classes);
  };
}

void Evaluator::measure_clean(const Contestants& task, const Target& target) {
  Measurement m = begin(task, "clean");
  m.classes = target.classes;
  m.listed = options_.clean_listed;
  eval::EvalHooks hooks;
  hooks.targets = targets_of(target);
  m.verdicts =
      eval::evaluate(*target.judge, nullptr, nullptr, relabelled(task.batches, target.first_label),
                     task.indices, options_.eval, task.draws, hooks);
  if (options_.keep_images) keep_clean(task, m.verdicts.labels);
  wanted_.clear();
  if (options_.examples) {
    std::vector<bool> have(task.class_names.size(), false);
    for (std::size_t i = 0; i < m.verdicts.labels.size(); ++i) {
      const auto label = static_cast<std::size_t>(m.verdicts.labels[i] - target.first_label);
      if (have.at(label) || m.verdicts.predictions[i] != m.verdicts.labels[i]) continue;
      have[label] = true;
      wanted_[m.verdicts.samples[i]] = at::Tensor();
    }
  }
  if (options_.attacks.empty()) done_ += static_cast<double>(task.indices.size());
  measurements_.push_back(std::move(m));
}

/// The images as they are, beside what attacks made of them.
void Evaluator::keep_clean(const Contestants& task, const std::vector<std::int64_t>& labels) {
  const std::string group = text("task", task.task, "/clean");
  const auto batch = static_cast<std::size_t>(options_.eval.batch);
  for (std::size_t first = 0; first < task.indices.size(); first += batch) {
    const auto some =
        std::span(task.indices).subspan(first, std::min(batch, task.indices.size() - first));
    images_.add(group, some, task.batches(some).images);
  }
  images_.set_labels(group, labels);
}

eval::Verdicts Evaluator::attack(const Contestants& task, const Target& target,
                                 attack::Attack& attack, const Job& job, Progress& progress) {
  eval::EvalOptions eval = options_.eval;
  if (is_auto_attack(attack)) eval.batches_at_once = kBatchesOfAutoAttack;
  eval::EvalHooks hooks;
  hooks.begun = journal_.find(job.name);
  hooks.group_done = [&](const eval::Verdicts& so_far) { journal_.add(job.name, so_far); };
  hooks.progress = [&](std::int64_t n) {
    progress.update(done_ + static_cast<double>(n), job.label);
  };
  hooks.within = [&](double n) { progress.update(done_ + n, job.label); };
  hooks.most_passes = attack.most_passes(target.classes);
  hooks.attack_labels = target.attack_labels;
  hooks.targets = targets_of(target);
  if (options_.checks && job.watched && !is_auto_attack(attack)) hooks.threat = job.threat;
  hooks.keep = [&](std::span<const std::int64_t> samples, const at::Tensor& adversarial) {
    if (job.kept) images_.add(job.name, samples, adversarial);
    if (!job.pictured) return;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto wanted = wanted_.find(samples[i]);
      if (wanted != wanted_.end())
        wanted->second = adversarial[static_cast<std::int64_t>(i)].clone();
    }
  };
  progress.update(done_, job.label);
  eval::Verdicts verdicts = eval::evaluate(*target.judge, target.attacked, &attack,
                                           relabelled(task.batches, target.first_label),
                                           task.indices, eval, task.draws, hooks);
  done_ += static_cast<double>(task.indices.size());
  return verdicts;
}

void Evaluator::measure(Protocol& protocol, const Contestants& task,
                        const std::vector<Target>& targets, const NamedAttack& named,
                        const attack::ThreatModel& threat, bool white_box, Progress& progress) {
  Measurement m = begin(task, named.asked);
  m.classes = targets.front().classes;
  m.eps_pixels = threat.eps_pixels;
  m.family = named.family;
  m.steps = named.steps;
  m.step_share = named.step_share;
  m.white_box = white_box;
  m.listed = !white_box;
  const bool last =
      !white_box && &named == &options_.attacks.back() && &threat == &options_.threats.back();
  for (const Target& target : targets) {
    std::unique_ptr<attack::Attack> attack;
    if (!white_box) attack = protocol.stored_attack(task.task, threat);
    if (!attack) attack = make_attack_(named, threat, target.classes);
    Job job{.name = text("task", task.task, "/", named.asked, "/", threat.eps_pixels * 255),
            .label = text("task ", task.task, " ", task.name, ": ", named.asked, " eps ",
                          format_eps(threat.eps_pixels)),
            .threat = threat,
            .watched = target.attacked == target.judge || white_box,
            .pictured = last && &target == &targets.back(),
            .kept = options_.keep_images && !white_box};
    if (!target.source.empty()) {
      job.name += "/from " + target.source;
      job.label += " from " + target.source;
    }
    if (white_box) job.name += "/white-box";
    if (attack->name().starts_with("stored")) m.asked = m.attack = attack->name();
    if (is_auto_attack(*attack)) m.attack = attack->name();
    m.recipe = attack->recipe();
    if (options_.targets.any()) m.recipe += "; sent to " + options_.targets.in_words();
    const eval::Verdicts verdicts = this->attack(task, target, *attack, job, progress);
    if (job.kept) images_.set_labels(job.name, verdicts.labels);
    if (!target.source.empty()) m.sources.emplace_back(target.source, verdicts.correct());
    if (&target == &targets.front())
      m.verdicts = verdicts;
    else
      merge(m.verdicts, verdicts);
  }
  if (last && options_.examples) add_examples(task, m.verdicts);
  measurements_.push_back(std::move(m));
}

void Evaluator::check(const Contestants& task, const Target& target) {
  const auto n =
      std::min<std::int64_t>(kImagesOfChecks, static_cast<std::int64_t>(task.indices.size()));
  if (n == 0) return;
  // Spread over the list, which may be sorted by class.
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < n; ++i) {
    chosen.push_back(task.indices[static_cast<std::size_t>(
        i * static_cast<std::int64_t>(task.indices.size()) / n)]);
  }
  const defense::Batch batch = relabelled(task.batches, target.first_label)(chosen);
  const attack::Norm norm = options_.threats.front().norm;
  for (const eval::Finding& finding :
       eval::check_model(*target.judge, batch.images, batch.labels, norm)) {
    findings_.push_back(finding_json(finding, 0, task.task));
  }
}

void Evaluator::add_examples(const Contestants& task, const eval::Verdicts& attacked) {
  std::vector<std::size_t> by_class(attacked.samples.size());
  std::iota(by_class.begin(), by_class.end(), std::size_t{0});
  std::stable_sort(by_class.begin(), by_class.end(), [&](std::size_t a, std::size_t b) {
    return attacked.labels[a] < attacked.labels[b];
  });
  for (std::size_t i : by_class) {
    const auto wanted = wanted_.find(attacked.samples[i]);
    if (wanted == wanted_.end() || !wanted->second.defined()) continue;
    const std::int64_t chosen[] = {attacked.samples[i]};
    const defense::Batch clean = task.batches(chosen);
    const auto name = [&](std::int64_t label) {
      return task.class_names.at(static_cast<std::size_t>(label));
    };
    const std::string truth = name(attacked.labels[i]);
    examples_.push_back({to_pixels(clean.images[0]), to_pixels(wanted->second), truth, truth,
                         name(attacked.predictions[i]), attacked.reached(i)});
  }
}

json Evaluator::record(const std::string& protocol) const {
  json record = evaluation_record(options_.threats, measurements_, protocol, options_.curve);
  // Of each check the tasks that raised it, or one line that nothing is wrong.
  std::vector<std::string> names;
  for (const json& each : findings_) {
    const std::string name = each.at("check");
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  for (const std::string& name : names) {
    std::optional<json> fine;
    bool raised = false;
    for (const json& each : findings_) {
      if (each.at("check") != name) continue;
      if (each.at("raised").get<bool>()) {
        raised = true;
        record["checks"].push_back(each);
      } else if (!fine) {
        fine = each;
        fine->erase("task");
      }
    }
    if (!raised && fine) record["checks"].push_back(*fine);
  }
  return record;
}

}  // namespace cmat::continual
