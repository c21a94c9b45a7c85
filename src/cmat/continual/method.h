// A method decides, the driver acts: from where a task stands it names the next stage, or that the
// task is done, and it accepts or refuses what a stage brought. docs/methods.md tells each method's
// stages and where they differ from the published code.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cmat/train/model.h"
#include "cmat/train/run_state.h"
#include "cmat/train/settings.h"

namespace cmat::continual {

/// What a method needs to know about the stream.
struct Plan {
  std::int64_t tasks = 1;  ///< in all
};

class Method {
 public:
  virtual ~Method() = default;
  virtual std::string name() const = 0;
  /// The name for people; of a bound that sees more than a continual learner may, it says so.
  virtual std::string label() const { return name(); }
  virtual train::Sharing sharing() const = 0;
  virtual bool picks() const = 0;
  /// All shared weights are the first task's; later tasks use them and own none.
  virtual bool single_owner() const { return false; }
  /// All tasks are learned at once, as one.
  virtual bool joint() const { return false; }
  /// The next stage of the active task, given its history; nothing when the task can be committed.
  virtual std::optional<train::StageSpec> next(const train::RunState& state) const = 0;
  /// The width to begin a task with, given how many weights are free now and how many the network
  /// has at a width. At least state.width.
  virtual double first_width(const train::RunState& state, std::int64_t free_weights,
                             const std::function<std::int64_t(double width)>& weights) const;
  /// Sets outcome.accepted and outcome.reason. A refused outcome's weights are given up for the
  /// last accepted ones.
  virtual void judge(const train::RunState& state, train::StageOutcome& outcome) const = 0;
};

/// One of train::method_names().
std::unique_ptr<Method> make_method(const train::Settings& settings, const Plan& plan);

/// Share of its candidates (own + free) that task `task` (1-based) of `tasks` must leave free.
/// equal: 1 - 1/(tasks - task + 1), so that each task ends with the same number of weights.
double required_ratio(const train::MethodSettings& method, std::int64_t task, std::int64_t tasks);

}  // namespace cmat::continual
