// What `cmat eval` measured, as JSON (docs/run-format.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/attack/threat_model.h"
#include "cmat/eval/checks.h"
#include "cmat/eval/robust_eval.h"

namespace cmat::continual {

/// One attack, or none, on the test images of one task.
struct Measurement {
  std::int64_t task = 0;
  std::string task_name;
  std::int64_t classes = 0;
  std::string asked;      ///< "clean", or the attack as the command names it
  std::string attack;     ///< what ran: the same, but for AutoAttack
  std::string recipe;     ///< empty: clean images
  double eps_pixels = 0;  ///< 0: clean images
  /// Not: clean images that nobody asked for, which the worst case needs, and white-box attacks
  /// that transfer is held against.
  bool listed = true;
  eval::Verdicts verdicts;
  std::string family;      ///< attacks of one family at one radius are compared by their steps
  int steps = 0;           ///< 0: it has no number of them
  double step_share = -1;  ///< --curve step-size: a step in radii
  bool white_box = false;  ///< only what transfer is held against
  /// Transfer from several networks: how many images each left right.
  std::vector<std::pair<std::string, std::int64_t>> sources;
};

/// `threats`: the radii, in one norm. REQUIRES for every task the clean images, and every attack at
/// every radius, on the same images. `curve`: as EvaluateOptions::curve.
nlohmann::json evaluation_record(const std::vector<attack::ThreatModel>& threats,
                                 const std::vector<Measurement>& measurements,
                                 const std::string& protocol = "task-aware",
                                 const std::string& curve = "");

/// A finding as the record lists it. `task` 0 and `eps_pixels` 0: of none in particular.
nlohmann::json finding_json(const eval::Finding& finding, double eps_pixels, std::int64_t task = 0);

}  // namespace cmat::continual
