// Which attacks an evaluation runs, at which radii, from the words of a command.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/attack/threat_model.h"

namespace cmat::continual {

/// What a command asks for.
struct AskedAttacks {
  std::vector<std::string> attacks;  ///< "clean", and names that attack/registry.h reads
  std::vector<std::string> eps;      ///< radii in pixels; empty: the default's
  std::string norm;                  ///< linf, l2 or l1; empty: the default's
  std::string curve;                 ///< eps, steps, step-size, or empty
};

/// The radii, in one norm. `usual` is taken where nothing is asked, and `whose` is its owner in
/// messages ("the run's"). --curve eps without --eps: a quarter to four times `usual`.
std::vector<attack::ThreatModel> chosen_threats(const AskedAttacks& asked,
                                                const attack::ThreatModel& usual,
                                                const std::string& whose);

/// One attack of the list at one place of the curve.
struct NamedAttack {
  std::string asked;       ///< how rows call it: "pgd20", "pgd20 step eps/4"
  std::string name;        ///< what the registry reads
  std::string family;      ///< the name without numbers: attacks of one family are compared
  int steps = 0;           ///< 0: it has no number of steps
  double step_share = -1;  ///< of a PGD step, in radii; negative: the attack's own
};

/// The list without "clean", with --curve steps and step-size spread out. Usage Errors for names
/// that come twice and for attacks that have no such curve.
std::vector<NamedAttack> named_attacks(const AskedAttacks& asked);
bool asks_for_clean(const AskedAttacks& asked);

/// Makes it. Usage Errors as in attack/registry.h; a radius of 0 is refused.
std::unique_ptr<attack::Attack> make_named_attack(const NamedAttack& named,
                                                  const attack::ThreatModel& threat,
                                                  std::int64_t classes, std::int64_t batch,
                                                  bool for_transfer = false);

/// AutoAttack regroups images between its runs, so that row i of a pass is not image i.
bool is_auto_attack(const attack::Attack& attack);
/// Batches that AutoAttack is given at once: it works on full batches of what is left.
constexpr std::int64_t kBatchesOfAutoAttack = 4;

}  // namespace cmat::continual
