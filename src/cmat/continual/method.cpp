#include "cmat/continual/method.h"

#include <algorithm>
#include <cmath>

#include "cmat/core/error.h"
#include "cmat/eval/robust_eval.h"

namespace cmat::continual {
namespace {

using train::RunState;
using train::Settings;
using train::Sharing;
using train::StageOutcome;
using train::StageSpec;

const StageOutcome* last_accepted(const RunState& state) {
  for (auto it = state.history.rbegin(); it != state.history.rend(); ++it) {
    if (it->accepted) return &*it;
  }
  return nullptr;
}

/// The task as it was before any weight was given back. REQUIRES a stage of training.
const StageOutcome& last_trained(const RunState& state) {
  const StageOutcome* last = &state.history.front();
  for (const StageOutcome& o : state.history) {
    if (o.stage.kind == "train" && o.accepted) last = &o;
  }
  return *last;
}

std::int64_t next_number(const RunState& state) {
  return static_cast<std::int64_t>(state.history.size()) + 1;
}

/// How the methods differ that own weights and give some back.
struct Compaction {
  bool picks = false;    ///< later tasks pick among older weights, else they use them all
  bool gradual = false;  ///< weights are given back along a ramp, in several stages if asked for
};

/// The stages of CPG, PackNet and PAE: train, give weights back, then (CPG) choose the picks again.
class Compacting : public Method {
 public:
  Compacting(const Settings& settings, const Plan& plan, Compaction kind)
      : settings_(settings), plan_(plan), picks_(kind.picks), gradual_(kind.gradual) {}

  std::string name() const override { return settings_.method.name; }
  Sharing sharing() const override { return Sharing::owned; }
  bool picks() const override { return picks_; }

  std::optional<StageSpec> next(const RunState& state) const override {
    if (state.history.empty() && settings_.train.epochs > 0) {
      return StageSpec{.kind = "train", .number = 1, .epochs = settings_.train.epochs};
    }
    if (const auto growth = next_growth(state)) return growth;
    if (const auto compact = next_compaction(state)) return compact;
    const bool repicked = !state.history.empty() && state.history.back().stage.kind == "repick";
    if (repicks(state) && settings_.repick.epochs > 0 && !repicked) {
      return StageSpec{
          .kind = "repick", .number = next_number(state), .epochs = settings_.repick.epochs};
    }
    return std::nullopt;
  }

  double first_width(const RunState& state, std::int64_t free_weights,
                     const std::function<std::int64_t(double)>& weights) const override {
    const std::int64_t before = weights(state.width);
    double width = state.width;
    const auto share = [&] {
      const std::int64_t total = weights(width);
      return static_cast<double>(free_weights + total - before) / static_cast<double>(total);
    };
    while (share() < settings_.growth.min_free && wider(width) > width) width = wider(width);
    return width;
  }

  void judge(const RunState& state, StageOutcome& outcome) const override {
    outcome.accepted = true;
    if (outcome.stage.width > 0) {
      judge_growth(state, outcome);
    } else if (outcome.stage.kind == "train") {
      outcome.reason = "a trained task is the start of everything else";
    } else if (outcome.stage.kind == "repick") {
      const StageOutcome& before = *last_accepted(state);
      const auto d = eval::paired_difference(outcome.losses, before.losses);
      outcome.accepted = d.mean < 0;
      outcome.reason =
          text("robust validation loss ", outcome.accepted ? "fell" : "did not fall", " (", d.mean,
               " +- ", d.standard_error, ") with the picks chosen again");
    } else {
      judge_compaction(state, outcome);
    }
  }

 private:
  /// The next greater width, or the same at the cap.
  double wider(double width) const {
    const double cap = settings_.growth.max_width;
    return std::max(width, std::min(width + settings_.growth.step, cap));
  }

  /// Robust validation accuracy that the active task should reach, or 0.
  double goal(const RunState& state) const {
    const std::vector<double>& goals =
        settings_.growth.goal_run.empty() ? settings_.growth.goals : state.goals;
    if (goals.size() == 1) return goals.front();
    const auto index = static_cast<std::size_t>(state.task - 1);
    return index < goals.size() ? goals[index] : 0;
  }

  bool meets_goal(const RunState& state, const StageOutcome& outcome) const {
    const double p = goal(state);
    const auto n = static_cast<double>(std::max<std::size_t>(outcome.losses.size(), 1));
    return outcome.robust_accuracy >= p - settings_.growth.tolerance * std::sqrt(p * (1 - p) / n);
  }

  /// A trained task that misses its goal is trained on in a wider network, as long as that helps.
  std::optional<StageSpec> next_growth(const RunState& state) const {
    if (state.history.empty()) return std::nullopt;
    const StageOutcome& last = state.history.back();
    const double width = wider(state.width);
    if (last.stage.kind != "train" || !last.accepted || meets_goal(state, last))
      return std::nullopt;
    if (!(width > state.width)) return std::nullopt;
    const std::int64_t epochs = settings_.growth.epochs;
    return StageSpec{.kind = "train",
                     .number = next_number(state),
                     .epochs = epochs > 0 ? epochs : settings_.train.epochs,
                     .width = width};
  }

  void judge_growth(const RunState& state, StageOutcome& outcome) const {
    const auto d = eval::paired_difference(outcome.losses, last_accepted(state)->losses);
    outcome.accepted = d.mean < 0;
    outcome.reason = text("robust validation loss ", outcome.accepted ? "fell" : "did not fall",
                          " (", d.mean, " +- ", d.standard_error, ") in the wider network; ",
                          meets_goal(state, outcome) ? "the goal " : "the goal, ", goal(state),
                          meets_goal(state, outcome) ? " is met" : ", is missed");
  }

  double required(const RunState& state) const {
    return required_ratio(settings_.method, state.task, plan_.tasks);
  }

  /// A first task, and a method without picks, has nothing to choose again.
  bool repicks(const RunState& state) const { return picks_ && state.task > 1; }

  bool progressive() const { return gradual_ && settings_.method.compaction == "progressive"; }

  /// Ascending shares to try; the required one is always among them.
  std::vector<double> targets(const RunState& state) const {
    const double must = required(state);
    std::vector<double> list;
    if (progressive()) list = settings_.method.targets;
    if (list.empty() || must > 0) list.push_back(must);
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
  }

  std::optional<StageSpec> next_compaction(const RunState& state) const {
    double reached = 0;
    bool any = false;
    for (const StageOutcome& o : state.history) {
      if (o.stage.kind == "repick") return std::nullopt;
      if (o.stage.kind != "compact") continue;
      if (!o.accepted) return std::nullopt;  // the last accepted share stands
      reached = o.stage.ratio;
      any = true;
    }
    for (double target : targets(state)) {
      if (any && target <= reached) continue;
      // Under a quota every method trains every task equally long: what is not spent on the picks
      // is spent here.
      const std::int64_t spare = repicks(state) || progressive() ? 0 : settings_.repick.epochs;
      return StageSpec{.kind = "compact",
                       .number = next_number(state),
                       .epochs = settings_.compact.epochs + spare,
                       .ratio = target,
                       .start_ratio = reached,
                       .one_shot = !gradual_};
    }
    return std::nullopt;
  }

  void judge_compaction(const RunState& state, StageOutcome& outcome) const {
    const double must = required(state);
    if (!progressive()) {
      outcome.reason = text("the quota asks this task to leave ", must, " of its candidates free");
      return;
    }
    // Against the task as it was before any weight was given back.
    const auto d = eval::paired_difference(outcome.losses, last_trained(state).losses);
    const bool no_worse = d.mean <= settings_.method.tolerance * d.standard_error;
    outcome.accepted = no_worse || outcome.stage.ratio <= must;
    outcome.reason = text("robust validation loss changed by ", d.mean, " +- ", d.standard_error,
                          " against the uncompacted task: ", no_worse ? "no worse" : "worse",
                          !no_worse && outcome.accepted ? ", but the quota asks for it" : "");
  }

  const Settings& settings_;
  Plan plan_;
  bool picks_, gradual_;
};

/// One stage a task, as long as all of the others' together: individual networks, fine-tuning, and
/// (with picks among the first task's weights) Piggyback.
class Plain : public Method {
 public:
  Plain(const Settings& settings, Sharing sharing) : settings_(settings), sharing_(sharing) {}

  std::string name() const override { return settings_.method.name; }
  Sharing sharing() const override { return sharing_; }
  bool picks() const override { return single_owner(); }
  bool single_owner() const override { return sharing_ == Sharing::owned; }

  std::optional<StageSpec> next(const RunState& state) const override {
    if (!state.history.empty()) return std::nullopt;
    return StageSpec{
        .kind = "train",
        .number = 1,
        .epochs = settings_.train.epochs + settings_.compact.epochs + settings_.repick.epochs};
  }

  void judge(const RunState&, StageOutcome& outcome) const override {
    outcome.accepted = true;
    outcome.reason = "the method has one stage a task";
  }

 private:
  const Settings& settings_;
  Sharing sharing_;
};

/// Not continual: one network learns all tasks at once. What it reaches is an upper bound.
class Joint : public Plain {
 public:
  Joint(const Settings& settings, const Plan& plan)
      : Plain(settings, Sharing::owned),
        heads_(settings.method.joint_head == "tasks" ? plan.tasks : 1) {}

  std::string label() const override {
    return text("joint (oracle, ", heads_, heads_ == 1 ? " head)" : " heads)");
  }
  bool picks() const override { return false; }
  bool joint() const override { return true; }

 private:
  std::int64_t heads_;
};

}  // namespace

double Method::first_width(const RunState& state, std::int64_t,
                           const std::function<std::int64_t(double)>&) const {
  return state.width;
}

double required_ratio(const train::MethodSettings& method, std::int64_t task, std::int64_t tasks) {
  if (method.quota == "fixed") return method.fixed_ratio;
  return 1.0 - 1.0 / static_cast<double>(tasks - task + 1);
}

std::unique_ptr<Method> make_method(const Settings& settings, const Plan& plan) {
  const std::string& name = settings.method.name;
  const auto compacting = [&](Compaction kind) {
    return std::make_unique<Compacting>(settings, plan, kind);
  };
  if (name == "cmat") return compacting({.picks = true, .gradual = true});
  if (name == "packnet") return compacting({.picks = false, .gradual = false});
  if (name == "pae") return compacting({.picks = false, .gradual = true});
  if (name == "joint") return std::make_unique<Joint>(settings, plan);
  if (name == "piggyback") return std::make_unique<Plain>(settings, Sharing::owned);
  if (name == "individual" || name == "small") return std::make_unique<Plain>(settings, Sharing::separate);
  if (name == "finetune") return std::make_unique<Plain>(settings, Sharing::overwritten);
  usage_error("there is no method \"", name, "\"");
}

}  // namespace cmat::continual
