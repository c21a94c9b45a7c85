// What `cmat eval` measured, as JSON (docs/run-format.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/attack/threat_model.h"
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
  bool listed = true;     ///< not: clean images that nobody asked for, which the worst case needs
  eval::Verdicts verdicts;
};

/// `threats`: the radii, in one norm. REQUIRES for every task the clean images, and every attack at
/// every radius, on the same images.
nlohmann::json evaluation_record(const std::vector<attack::ThreatModel>& threats,
                                 const std::vector<Measurement>& measurements);

}  // namespace cmat::continual
