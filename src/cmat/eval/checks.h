// Signs in the verdicts that an attack was too weak to be believed. Each check speaks one sentence:
// what was seen, and where something is wrong, what it means and what to do.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cmat::eval {

/// Which images are classified rightly: clean (radius 0), or by what an attack made of them. All
/// lists that are compared speak of the same images in the same order.
struct Survivors {
  std::string attack = {};
  double eps_pixels = 0;
  std::vector<bool> right = {};
  int steps = 0;  ///< of the attack, where it has a number of them
  std::int64_t count() const;
};

struct Finding {
  std::string check;
  bool raised = false;
  std::int64_t images = 0;  ///< that show it
  std::string message = {};
};

/// Images that are right in every list: the worst case over attacks, if clean images are among
/// them. A failure for no list or lists of different lengths.
std::vector<bool> worst_case(std::span<const Survivors> lists);

/// "accuracy-rises": whether accuracy under one attack is higher at a larger radius than at a
/// smaller one, by more than two standard errors of the paired difference. A larger ball holds
/// every adversarial image of the smaller one, so only a weak attack can do that. `radii`: the
/// attack at each radius, in any order, the clean images (radius 0) among them or not.
Finding check_accuracy_falls(std::span<const Survivors> radii);

/// "accuracy-rises-with-steps": the same of one attack at one radius, taken with several numbers of
/// steps. More of them should break no fewer images, up to chance.
Finding check_steps(std::span<const Survivors> attacks);

/// "transfer": whether examples that were made with another network leave fewer images right than the
/// same attack on the network itself, by more than two standard errors of the paired difference.
Finding check_transfer(const Survivors& white_box, const Survivors& transferred);

/// "black-box": whether an attack without gradients broke an image that every attack with gradients
/// left. REQUIRES one radius for all, and at least one white-box attack.
Finding check_black_box(std::span<const Survivors> white_box, const Survivors& black_box);

}  // namespace cmat::eval
