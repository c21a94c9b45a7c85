// Who answers for a task's images and whom the attack sees: the three protocols of an evaluation.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/continual/setup.h"

namespace cmat::continual {

/// One way to attack one task.
struct Target {
  attack::Classifier* judge = nullptr;     ///< gives the verdict
  attack::Classifier* attacked = nullptr;  ///< what the attack sees
  std::int64_t classes = 0;                ///< of the judge
  std::int64_t first_label = 0;            ///< the judge's logit of the task's class 0
  std::string source{};  ///< transfer: whose examples they are ("task 1", "runs/other")
  /// Transfer from networks of other classes: what the attack moves away from.
  std::function<at::Tensor(const at::Tensor& images, const at::Tensor& labels)> attack_labels{};
};

class Protocol {
 public:
  virtual ~Protocol() = default;
  virtual std::string name() const = 0;
  /// The ways to attack `task`, whose network is made the run's active one. They hold until the
  /// next call.
  virtual std::vector<Target> targets(std::int64_t task) = 0;
  /// What stands in for the attacks of the list; null: they run.
  virtual std::unique_ptr<attack::Attack> stored_attack(std::int64_t /*task*/,
                                                        const attack::ThreatModel& /*threat*/) {
    return nullptr;
  }
  /// The task's own network under its own attack, which transfer is held against; else null.
  virtual attack::Classifier* white_box() { return nullptr; }
};

/// "task-aware": the task is known, and its own network is attacked. "class-incremental": it is
/// not; the logits of all finished tasks side by side, attacked through all of them. "transfer":
/// examples made with `source`, a run, a file of `--save-adversarial`, or "tasks": the networks of
/// the tasks before (each moved away from its own answer, since its classes are others).
std::unique_ptr<Protocol> make_protocol(const std::string& name, const std::string& source,
                                        Setup& setup, const MachineOptions& machine);

}  // namespace cmat::continual
