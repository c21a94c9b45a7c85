// AutoAttack (Croce and Hein, 2020) for any number of classes: several attacks one after the other,
// each on what the former ones left.
#pragma once

#include <memory>

#include "cmat/attack/attack.h"

namespace cmat::attack {

struct AutoAttackOptions {
  ThreatModel threat{};  ///< linf or l2
  /// standard: APGD-CE, APGD-T, FAB-T, Square. plus: APGD-CE and APGD-DLR with 5 runs, FAB with 5
  /// runs, Square, APGD-T, FAB-T. rand: APGD-CE and APGD-DLR on gradients averaged over 20 passes,
  /// for networks that are random.
  enum class Version { standard, plus, rand } version = Version::standard;
  std::int64_t classes = 0;  ///< of the network, 2 or more
  /// Images a pass. Those that still resist are regrouped into batches of this size before each
  /// run, and the last batch is filled up with copies, so that the network sees one batch size
  /// only. Where there are fewer images than this, as many as there are.
  std::int64_t batch = 100;
  /// Budgets, for tests and for a quick look. Other values than these are no AutoAttack any more,
  /// and the name says so.
  int apgd_steps = 100, fab_steps = 100, square_queries = 5000;
};

/// Named by what runs: "AA-standard[C=5,t=4]", where t = min(9, C-1) is the number of target
/// classes of APGD-T and FAB-T. At C >= 10 this is the published recipe. With 2 and 3 classes,
/// where DLR is not defined, the margin stands in for it (losses.h). Runs on many images at once:
/// the more it is given, the fewer batches are filled up.
///
/// An image counts as broken if it is misclassified as it is or by any attack (the worst case).
/// Fills AttackResult::parts and broken_by. Usage Errors for options out of range, and when the
/// network has another number of classes.
std::unique_ptr<Attack> make_auto_attack(const AutoAttackOptions& options);

}  // namespace cmat::attack
