#include "cmat/eval/checks.h"

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::eval {
namespace {

std::int64_t count_true(const std::vector<bool>& values) {
  return std::count(values.begin(), values.end(), true);
}

std::string at_radius(double eps_pixels) {
  return eps_pixels == 0 ? std::string("without an attack")
                         : text("at eps ", format_eps(eps_pixels));
}

void check_length(const std::vector<bool>& a, const std::vector<bool>& b) {
  if (a.size() != b.size()) {
    failure("verdicts on ", a.size(), " images cannot be compared with verdicts on ", b.size());
  }
}

/// (g - l)^2 > 4 (g + l), g > l: what McNemar's test takes for more than chance.
bool rises(const Survivors& smaller, const Survivors& larger) {
  check_length(smaller.right, larger.right);
  std::int64_t gained = 0, lost = 0;
  for (std::size_t i = 0; i < smaller.right.size(); ++i) {
    gained += larger.right[i] && !smaller.right[i];
    lost += smaller.right[i] && !larger.right[i];
  }
  const std::int64_t net = gained - lost;
  return net > 0 && net * net > 4 * (gained + lost);
}

}  // namespace

std::int64_t Survivors::count() const { return count_true(right); }

std::vector<bool> worst_case(std::span<const Survivors> lists) {
  if (lists.empty()) failure("the worst case needs at least one list of verdicts");
  std::vector<bool> right = lists.front().right;
  for (const Survivors& list : lists) {
    check_length(right, list.right);
    for (std::size_t i = 0; i < right.size(); ++i) right[i] = right[i] && list.right[i];
  }
  return right;
}

Finding check_accuracy_falls(std::span<const Survivors> radii) {
  std::vector<const Survivors*> sorted;
  for (const Survivors& each : radii) sorted.push_back(&each);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->eps_pixels < b->eps_pixels; });
  if (sorted.empty()) failure("accuracy at several radii needs at least one");
  Finding finding{.check = "accuracy-rises"};
  const std::string& attack = sorted.back()->attack;
  finding.message = text("accuracy under ", attack, " does not rise with eps by more than chance");
  for (std::size_t j = 1; j < sorted.size(); ++j) {
    for (std::size_t i = 0; i < j; ++i) {
      const Survivors &smaller = *sorted[i], &larger = *sorted[j];
      const std::int64_t net = larger.count() - smaller.count();
      if (!rises(smaller, larger) || net <= finding.images) continue;
      finding.raised = true;
      finding.images = net;
      finding.message = text(
          "accuracy under ", attack, " rises with eps, from ", smaller.count(), " of ",
          smaller.right.size(), " images ", at_radius(smaller.eps_pixels), " to ", larger.count(),
          " ", at_radius(larger.eps_pixels), ", which no attack does that optimises well: ",
          "believe the lower number, and repeat with more steps or runs, or a stronger attack");
    }
  }
  return finding;
}

Finding check_steps(std::span<const Survivors> attacks) {
  Finding finding{.check = "accuracy-rises-with-steps"};
  finding.message = "accuracy does not rise with the number of steps by more than chance";
  for (const Survivors& fewer : attacks) {
    for (const Survivors& more : attacks) {
      const std::int64_t net = more.count() - fewer.count();
      if (fewer.steps >= more.steps || !rises(fewer, more) || net <= finding.images) continue;
      finding.raised = true;
      finding.images = net;
      finding.message = text(
          "accuracy ", at_radius(more.eps_pixels), " rises with steps, from ", fewer.count(), " of ",
          fewer.right.size(), " images under ", fewer.attack, " to ", more.count(), " under ",
          more.attack, ", so more work finds less: believe the lower number, and try other step ",
          "sizes (--curve step-size) or an attack that sets its own (apgd-ce)");
    }
  }
  return finding;
}

Finding check_transfer(const Survivors& white_box, const Survivors& transferred) {
  Finding finding{.check = "transfer"};
  const std::int64_t net = white_box.count() - transferred.count();
  finding.raised = rises(transferred, white_box);
  finding.images = finding.raised ? net : 0;
  const std::string seen = text(transferred.attack, " left ", transferred.count(), " of ",
                                transferred.right.size(), " images right ",
                                at_radius(transferred.eps_pixels), ", the same attack on the ",
                                "network itself ", white_box.count());
  finding.message =
      finding.raised
          ? text(seen, ", and whoever sees the network should do better than who does not, so its ",
                 "gradients may be masked: report the lower number, and repeat with autoattack")
          : seen;
  return finding;
}

Finding check_black_box(std::span<const Survivors> white_box, const Survivors& black_box) {
  const std::vector<bool> left = worst_case(white_box);
  check_length(left, black_box.right);
  Finding finding{.check = "black-box"};
  for (std::size_t i = 0; i < left.size(); ++i) finding.images += left[i] && !black_box.right[i];
  finding.raised = finding.images > 0;
  std::string names;
  for (const Survivors& each : white_box) names += (names.empty() ? "" : ", ") + each.attack;
  const std::string seen =
      text(black_box.attack, ", which uses no gradients, broke ",
           finding.raised ? text(finding.images) : std::string("none"), " of the ",
           count_true(left), " images that ", names, " left ", at_radius(black_box.eps_pixels));
  finding.message =
      finding.raised
          ? text(seen, ", so the gradients may be masked and the white-box numbers too good: ",
                 "report the worst case, and repeat with more steps and runs")
          : seen;
  return finding;
}

}  // namespace cmat::eval
