// cmat attack: the attacks, checks and records of cmat eval on a TorchScript file.
#include "cmat/continual/attack_model.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <charconv>

#include "cmat/attack/registry.h"
#include "cmat/attack/script_classifier.h"
#include "cmat/continual/evaluator.h"
#include "cmat/continual/out_of_memory.h"
#include "cmat/continual/setup.h"
#include "cmat/continual/user_images.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/fraction.h"
#include "cmat/core/version.h"
#include "cmat/eval/model_checks.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

/// "5:10", ":10", "5:"
void parse_logits(const std::string& range, attack::ScriptOptions& script) {
  if (range.empty()) return;
  const std::size_t colon = range.find(':');
  const auto number = [&](const std::string& part, std::int64_t missing) {
    std::int64_t value = -1;
    if (part.empty()) return missing;
    const auto read = std::from_chars(part.data(), part.data() + part.size(), value);
    if (read.ptr != part.data() + part.size() || value < 0) value = -2;
    return value;
  };
  if (colon != std::string::npos) {
    script.first_logit = number(range.substr(0, colon), 0);
    script.end_logit = number(range.substr(colon + 1), -1);
  }
  if (colon == std::string::npos || script.first_logit < 0 || script.end_logit == -2 ||
      (script.end_logit >= 0 && script.end_logit <= script.first_logit)) {
    usage_error("--logits wants a range of outputs like 5:10 (which means 5 to 9), not \"", range,
                "\"");
  }
}

/// The network itself, under every attack.
class Alone : public Protocol {
 public:
  Alone(attack::Classifier& model, std::int64_t classes) : model_(model), classes_(classes) {}
  std::string name() const override { return "task-aware"; }
  std::vector<Target> targets(std::int64_t) override {
    return {{.judge = &model_, .attacked = &model_, .classes = classes_}};
  }

 private:
  attack::Classifier& model_;
  std::int64_t classes_;
};

/// At most `limit` images, the same number of each label as far as there are enough.
std::vector<std::int64_t> spread(const std::vector<std::int64_t>& labels, std::int64_t limit) {
  std::vector<std::int64_t> order;
  std::map<std::int64_t, std::vector<std::int64_t>> by_label;
  for (std::size_t i = 0; i < labels.size(); ++i)
    by_label[labels[i]].push_back(static_cast<std::int64_t>(i));
  if (limit <= 0) limit = static_cast<std::int64_t>(labels.size());
  for (std::size_t round = 0; order.size() < static_cast<std::size_t>(limit); ++round) {
    const std::size_t before = order.size();
    for (const auto& [label, images] : by_label) {
      if (round < images.size() && order.size() < static_cast<std::size_t>(limit))
        order.push_back(images[round]);
    }
    if (order.size() == before) break;
  }
  std::sort(order.begin(), order.end());
  return order;
}

void check_user_labels(UserImages& user, const attack::ScriptOptions& script,
                       std::int64_t classes) {
  for (std::size_t i = 0; i < user.labels.size(); ++i) {
    std::int64_t& label = user.labels[i];
    if (label < script.first_logit || label >= script.first_logit + classes) {
      usage_error("image ", i, " of ", user.origin, " has the label ", label,
                  ", which is not among the outputs ", script.first_logit, " to ",
                  script.first_logit + classes - 1, " that are attacked");
    }
    label -= script.first_logit;
  }
}

void check_user_targets(UserImages& user, const attack::ScriptOptions& script,
                        std::int64_t classes) {
  ChosenTargets& targets = user.targets;
  const auto shift = [&](std::int64_t& target) {
    if (target < script.first_logit || target >= script.first_logit + classes) {
      usage_error("--targets ", targets.asked, " names class ", target,
                  ", which is not among the outputs ", script.first_logit, " to ",
                  script.first_logit + classes - 1, " that are attacked");
    }
    target -= script.first_logit;
  };
  for (std::int64_t& target : targets.each) shift(target);
  if (targets.one >= 0) shift(targets.one);
}

std::vector<std::string> names_of_classes(const UserImages& user, std::int64_t first,
                                          std::int64_t classes) {
  std::vector<std::string> names = user.class_names;
  for (auto c = static_cast<std::int64_t>(names.size()); c < classes; ++c)
    names.push_back(std::to_string(first + c));
  return names;
}

}  // namespace

Evaluation attack_model(const AttackModelOptions& options) try {
  const AskedAttacks asked{options.attacks, options.eps, options.norm, options.curve};
  EvaluatorOptions o;
  o.threats = chosen_threats(asked, attack::ThreatModel{}, "the usual");
  o.attacks = named_attacks(asked);
  const std::int64_t batch = options.batch;
  const MakeAttack make = [batch](const NamedAttack& named, const attack::ThreatModel& threat,
                                  std::int64_t classes) {
    return make_named_attack(named, threat, classes, batch);
  };
  for (const attack::ThreatModel& threat : o.threats) {
    for (const NamedAttack& named : o.attacks) {
      const auto made = make(named, threat, 2);
      if (!options.targets.empty() && !made->takes_targets()) attack::refuse_targets(named.name);
    }
  }
  attack::ScriptOptions script_options;
  script_options.mean = options.mean;
  script_options.std = options.std;
  parse_logits(options.logits, script_options);
  const MachineOptions machine = prepare_machine(options.machine);
  if (machine.device == "cuda") script_options.device = at::kCUDA;
  UserImages user = read_user_images({.images = options.images,
                                      .labels = options.labels,
                                      .targets = options.targets,
                                      .size = options.size,
                                      .grey = options.grey,
                                      .first_label = script_options.first_logit});
  const attack::Script script = attack::load_script(options.model, script_options);
  const at::Tensor images = user.images.to(script_options.device);
  // How many classes there are only a pass can tell; a network of another size is refused here.
  const std::int64_t classes = script.classifier->logits(images.narrow(0, 0, 1)).size(1);
  check_user_labels(user, script_options, classes);
  check_user_targets(user, script_options, classes);
  const at::Tensor labels = at::tensor(user.labels, at::kLong).to(script_options.device);

  Evaluation evaluation;
  evaluation.channels = images.size(1);
  evaluation.height = images.size(2);
  evaluation.width = images.size(3);
  if (options.examples && (o.attacks.empty() || (images.size(1) != 1 && images.size(1) != 3)))
    usage_error("adversarial examples need an attack, say --attack apgd-ce, on grey or RGB images");
  evaluation.title = script.what;
  if (!o.attacks.empty()) {
    evaluation.caption =
        text(o.attacks.back().asked, ", ", attack::norm_name(o.threats.back().norm), " eps ",
             format_eps(o.threats.back().eps_pixels),
             "; of each class the first image that is classified rightly");
  }
  o.clean_listed = asks_for_clean(asked);
  o.checks = options.checks;
  o.examples = options.examples;
  o.keep_images = !options.save_adversarial.empty();
  o.eval = {batch, script_options.device};
  o.curve = options.curve;
  o.targets = user.targets;
  const std::vector<std::int64_t> chosen_images = spread(user.labels, options.limit);
  std::vector<std::int64_t> chosen_labels;
  for (std::int64_t i : chosen_images)
    chosen_labels.push_back(user.labels[static_cast<std::size_t>(i)]);
  std::int64_t left_out = 0;
  const Contestants contestants{
      .task = 1,
      .name = script.what,
      .class_names = names_of_classes(user, script_options.first_logit, classes),
      .indices = user.targets.with_a_way(chosen_images, chosen_labels, 0, left_out),
      .batches =
          [&](std::span<const std::int64_t> chosen) {
            const at::Tensor rows =
                at::tensor(std::vector<std::int64_t>(chosen.begin(), chosen.end()), at::kLong)
                    .to(images.device());
            return defense::Batch{images.index_select(0, rows),
                                  labels.index_select(0, rows),
                                  {chosen.begin(), chosen.end()}};
          },
      .draws = {.seed = options.seed, .task = 1, .stage = 1, .purpose = Purpose::evaluation}};
  EvaluationJournal journal;
  Evaluator evaluator(o, make, journal);
  Progress progress("images", evaluator.weight(contestants, false));
  Alone protocol(*script.classifier, classes);
  evaluator.measure(protocol, contestants, progress);

  evaluation.results = evaluator.record(protocol.name());
  evaluation.examples = std::move(evaluator.examples());
  json& results = evaluation.results;
  if (options.checks && !o.attacks.empty())
    results["checks"].push_back(
        finding_json(eval::check_train_mode(script.saved_in_train_mode), 0));
  results["model"] = script.what;
  results["images"] = user.origin;
  if (o.targets.any()) results["targets"] = {{"asked", o.targets.asked}, {"left_out", left_out}};
  results["seconds"] = progress.seconds();
  results["program"] = text("cmat ", kVersion);
  if (o.keep_images) {
    evaluator.images().write(options.save_adversarial,
                             {{"program", text("cmat ", kVersion)},
                              {"model", script.what},
                              {"norm", attack::norm_name(o.threats.front().norm)}});
  }
  return evaluation;
} catch (...) {
  rethrow_explained();
}

}  // namespace cmat::continual
