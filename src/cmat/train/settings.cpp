#include "cmat/train/settings.h"

#include "cmat/attack/as_published.h"
#include "cmat/core/error.h"

namespace cmat::train {
namespace {

constexpr double kInfinity = 1e300;

MethodSettings read_method(Config& config) {
  MethodSettings m;
  m.name = config.string("method.name", "cmat", method_names());
  m.compaction = config.string("method.compaction", "quota", {"quota", "progressive"});
  m.targets = config.numbers("method.targets", {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95});
  m.quota = config.string("method.quota", "equal", {"equal", "fixed"});
  m.fixed_ratio = config.number("method.fixed_ratio", 0.6, 0, 1);
  m.tolerance = config.number("method.tolerance", 1.0, 0, 100);
  m.select = config.string("method.select", "last", {"last", "best"});
  m.budget = config.integer("method.budget", 0, 0, INT64_MAX);
  m.budget_run = config.string("method.budget_run", "");
  m.joint_head = config.string("method.joint_head", "one", {"one", "tasks"});
  m.backbone = config.string("method.backbone", "first", {"first", "file"});
  for (std::size_t i = 0; i < m.targets.size(); ++i) {
    const double previous = i == 0 ? 0 : m.targets[i - 1];
    if (m.targets[i] <= previous || m.targets[i] >= 1) {
      usage_error("method.targets must be shares between 0 and 1 in ascending order, but has ",
                  m.targets[i], " after ", previous);
    }
  }
  return m;
}

GrowthSettings read_growth(Config& config) {
  GrowthSettings g;
  g.max_width = config.number("growth.max_width", 0, 0, nn::kMaxWidth);
  g.step = config.number("growth.step", 0.25, 0.01, nn::kMaxWidth);
  g.min_free = config.number("growth.min_free", 0, 0, 0.99);
  g.goals = config.numbers("growth.goals", {});
  g.goal_run = config.string("growth.goal_run", "");
  g.tolerance = config.number("growth.tolerance", 1.0, 0, 100);
  g.epochs = config.integer("growth.epochs", 0, 0, 100000);
  for (double goal : g.goals) {
    if (!(goal > 0 && goal <= 1)) {
      usage_error("growth.goals are robust validation accuracies from 0 to 1, but one is ", goal);
    }
  }
  if (!g.goals.empty() && !g.goal_run.empty()) {
    usage_error("growth.goals and growth.goal_run exclude each other: give one of them");
  }
  const bool has_goal = !g.goals.empty() || !g.goal_run.empty();
  if (g.max_width > 0 && g.min_free == 0 && !has_goal) {
    usage_error("growth.max_width = ", g.max_width, " has no effect without a reason to grow: set ",
                "growth.goals, growth.goal_run or growth.min_free");
  }
  if (g.max_width == 0 && (g.min_free > 0 || has_goal)) {
    usage_error("growth.goals, growth.goal_run and growth.min_free have no effect without ",
                "growth.max_width, the greatest width that the network may reach");
  }
  return g;
}

OptimizerSettings read_optimizer(Config& config) {
  OptimizerSettings o;
  o.batch = config.integer("optimizer.batch", 64, 2, 65536);
  o.momentum = config.number("optimizer.momentum", 0.9, 0, 1);
  o.nesterov = config.boolean("optimizer.nesterov", true);
  o.weight_decay = config.number("optimizer.weight_decay", 5e-4, 0, 1);
  o.decay_head = config.boolean("optimizer.decay_head", true);
  o.later_lr_factor = config.number("optimizer.later_lr_factor", 1.0, 0, 10);
  o.average_decay = config.number("optimizer.average_decay", 0.99, 0, 0.999999);
  o.ramp_begin = config.number("compact.ramp_begin", 0.3, 0, 1);
  o.ramp_end = config.number("compact.ramp_end", 0.7, 0, 1);
  o.prune_every = config.integer("compact.prune_every", 10, 1, 1000000);
  o.norm_warmup = config.integer("optimizer.norm_warmup", 8, 0, 100000);
  if (o.ramp_end < o.ramp_begin) {
    usage_error("compact.ramp_end (", o.ramp_end, ") must not lie before compact.ramp_begin (",
                o.ramp_begin, ")");
  }
  return o;
}

StageSettings read_stage(Config& config, const std::string& prefix, std::int64_t epochs, double lr,
                         double pick_lr) {
  StageSettings s;
  s.epochs = config.integer(prefix + ".epochs", epochs, 0, 100000);
  Schedule defaults;
  defaults.lr = lr;
  s.schedule = read_schedule(config, prefix, defaults);
  s.pick_lr = config.number(prefix + ".pick_lr", pick_lr, 0, 1);
  return s;
}

EvaluationSettings read_evaluation(Config& config, const attack::ThreatModel& threat) {
  EvaluationSettings e;
  e.attack = attack::read_pgd_options(config, "evaluation", threat, /*evaluation=*/true, 20);
  e.attack_name = attack::make_config_pgd(e.attack)->name();
  e.batch = config.integer("evaluation.batch", 250, 16, 65536);
  e.probe = config.integer("evaluation.probe", 64, 1, 100000);
  return e;
}

/// Tasks own weights and give some back, so there is room to make.
bool compacts(const std::string& method) {
  return method == "cmat" || method == "packnet" || method == "pae";
}

}  // namespace

const std::vector<std::string>& method_names() {
  static const std::vector<std::string> names = {"cmat", "packnet",   "individual", "finetune",
                                                 "pae",  "piggyback", "joint",      "small"};
  return names;
}

Settings read_settings(Config& config) {
  Settings s;
  s.seed = static_cast<std::uint64_t>(config.integer("seed", 1, 0, INT64_MAX));
  s.stream = data::read_stream_options(config, s.seed);
  s.augmentation = data::read_augmentation(config);
  s.threat = attack::read_threat_model(config);
  s.method = read_method(config);
  s.growth = read_growth(config);
  s.optimizer = read_optimizer(config);
  s.train = read_stage(config, "train", 0, 0.1, 5e-4);
  s.compact = read_stage(config, "compact", 20, 0.1, 5e-4);
  s.repick = read_stage(config, "repick", 0, 0.01, 1e-4);
  s.picks.threshold = config.number("picks.threshold", 0.005, -1, 1);
  s.picks.initial = config.number("picks.initial", 0.01, -1, 1);
  s.pick_adam.beta1 = config.number("picks.beta1", 0.9, 0, 0.999999);
  s.pick_adam.beta2 = config.number("picks.beta2", 0.999, 0, 0.999999);
  s.pick_adam.eps = config.number("picks.eps", 1e-8, 1e-30, 1);
  s.private_below = config.integer("bank.private_below", 0, 0, INT64_MAX);
  s.frozen = config.string("network.kernels", "auto", {"auto", "torch"}) == "auto";
  s.evaluation = read_evaluation(config, s.threat);
  s.checkpoint.every_seconds = config.number("checkpoint.every_seconds", 30, 0, kInfinity);
  s.checkpoint.every_steps = config.integer("checkpoint.every_steps", 0, 0, INT64_MAX);
  if (s.train.epochs + s.compact.epochs < 1) {
    usage_error("train.epochs and compact.epochs are both 0, so no task would be trained");
  }
  if (s.compact.epochs < 1 && compacts(s.method.name)) {
    usage_error("method.name = \"", s.method.name,
                "\" needs compact.epochs of 1 or more: that stage ",
                "gives weights back for the tasks to come");
  }
  const bool progressive =
      s.method.compaction == "progressive" && (s.method.name == "cmat" || s.method.name == "pae");
  if (progressive && s.train.epochs < 1) {
    usage_error("method.compaction = \"progressive\" compares with the task before compaction, so ",
                "train.epochs must be 1 or more");
  }
  if (s.method.name == "small" && s.method.budget == 0 && s.method.budget_run.empty()) {
    usage_error("method.name = \"small\" needs the bytes that its networks may take together: set ",
                "method.budget, or method.budget_run to a finished run that they should equal");
  }
  const bool has_goal = !s.growth.goals.empty() || !s.growth.goal_run.empty();
  if (s.growth.max_width > 0 && !compacts(s.method.name)) {
    usage_error("growth.max_width = ", s.growth.max_width, ", but method.name = \"", s.method.name,
                "\" never grows: only cmat, packnet and pae do");
  }
  if (has_goal && s.train.epochs < 1) {
    usage_error("growth asks whether a trained task meets its goal before it is compacted, so ",
                "train.epochs must be 1 or more");
  }
  const bool decides = has_goal || s.method.compaction == "progressive" ||
                       s.method.select == "best" ||
                       (s.repick.epochs > 0 && s.method.name == "cmat");
  if (decides && s.stream.least_validation() <= 0) {
    usage_error(
        "data.validation is 0, but method.compaction = \"progressive\", method.select = \"best\", ",
        "repick.epochs > 0 and a goal of growth decide on validation images: set ",
        "data.validation, say to 0.2");
  }
  return s;
}

}  // namespace cmat::train
