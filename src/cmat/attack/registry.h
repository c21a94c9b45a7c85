// All attacks by name: what each can do, and how to make one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct AttackName {
  std::string name;         ///< without numbers: "pgd"
  std::vector<Norm> norms;  ///< that it works in
  int steps = 0;            ///< default of the first number in a name; 0: the name takes none
  bool restarts = false;    ///< whether the name may end in "x" and a number of runs
  std::string what;         ///< a few words for a list
  bool targets = true;      ///< whether it can be given chosen classes (Attack::takes_targets)
};

/// In the order in which a list should show them.
const std::vector<AttackName>& attack_names();

struct AttackSettings {
  std::int64_t classes = 0;  ///< of the network; AutoAttack needs it
  std::int64_t batch = 100;  ///< images a pass, for AutoAttack, which regroups
  double step_pixels = -1;   ///< of PGD, BIM and MIM; negative: 2.5 * eps / steps
  /// For examples that another network judges: PGD, BIM and MIM keep the last iterate, the furthest
  /// along, and not the first that fools the network they are made with.
  bool for_transfer = false;
};

/// NAME, NAMEn or NAMEnxR: "pgd20x2" is PGD with 20 steps and 2 runs, "apgd-cex5" has the default
/// number of steps and 5 runs, "square1000" 1000 queries, "fab-t", "autoattack" (the same as
/// "aa-standard"). Evaluation's choices: the best iterate is kept, losses alternate. One usage
/// Error for a name that does not exist or a combination that is not supported (the norm, the
/// number of classes, a number where none belongs).
std::unique_ptr<Attack> make_attack(const std::string& name, const ThreatModel& threat,
                                    const AttackSettings& settings = {});

/// Says that the attack of that name takes no targets, and which do. A usage Error.
[[noreturn]] void refuse_targets(const std::string& name);

}  // namespace cmat::attack
