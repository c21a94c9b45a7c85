#include "cmat/continual/evaluation_plan.h"

#include <algorithm>
#include <charconv>

#include "cmat/attack/registry.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::continual {
namespace {

constexpr int kStepsOfCurve[] = {1, 2, 5, 10, 20, 50, 100};
constexpr int kRadiiOfCurve[] = {1, 2, 4, 8, 16};           // quarters of the usual radius
constexpr int kStepsInSixteenths[] = {1, 2, 4, 8, 16, 32};  // of the radius

/// The registry's entry that a name speaks of, and the rest of the name; null: there is none.
const attack::AttackName* entry_of(const std::string& name, std::string& rest) {
  const attack::AttackName* best = nullptr;
  for (const attack::AttackName& each : attack::attack_names()) {
    if (!name.starts_with(each.name)) continue;
    const char next = name.size() > each.name.size() ? name[each.name.size()] : '0';
    const bool whole = (next >= '0' && next <= '9') || next == 'x';
    if (whole && (!best || each.name.size() > best->name.size())) best = &each;
  }
  if (best) rest = name.substr(best->name.size());
  return best;
}

NamedAttack plain(const std::string& name) {
  NamedAttack named{.asked = name, .name = name, .family = name};
  std::string rest;
  const attack::AttackName* entry = entry_of(name, rest);
  if (!entry) return named;  // make_attack will say so
  int given = 0;
  const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), given);
  const std::string runs = rest.substr(static_cast<std::size_t>(read.ptr - rest.data()));
  named.family = entry->name + runs;
  named.steps = given > 0 ? given : entry->steps;
  return named;
}

void spread_over_steps(const NamedAttack& named, std::vector<NamedAttack>& all) {
  if (named.steps == 0) {
    usage_error("--curve steps needs attacks with a number of steps, and \"", named.name,
                "\" has none: use pgd, apgd-ce or square");
  }
  std::string runs;  // "x2"
  const std::string base = entry_of(named.family, runs)->name;
  for (int steps : kStepsOfCurve) all.push_back(plain(text(base, steps, runs)));
}

void spread_over_step_sizes(const NamedAttack& named, std::vector<NamedAttack>& all) {
  const std::string& f = named.family;
  if (!f.starts_with("pgd") && !f.starts_with("bim") && !f.starts_with("mim")) {
    usage_error("--curve step-size needs attacks with one step size, pgd, bim or mim, and \"",
                named.name, "\" is none");
  }
  for (int sixteenths : kStepsInSixteenths) {
    NamedAttack one = named;
    one.step_share = sixteenths / 16.0;
    one.asked = text(named.asked, " step ", one.step_share, " eps");
    one.family = one.asked;  // its accuracies are not compared by steps
    all.push_back(one);
  }
}

}  // namespace

std::vector<attack::ThreatModel> chosen_threats(const AskedAttacks& asked,
                                                const attack::ThreatModel& usual,
                                                const std::string& whose) {
  if (usual.as_published && asked.eps.empty()) {
    usage_error(whose,
                " threat model is as-published, whose radius is not one of pixels: measure it ",
                "with --as-published, or say --eps, in pixels, for an honest number");
  }
  attack::ThreatModel threat{usual.norm, usual.eps_pixels};
  if (!asked.norm.empty()) threat.norm = attack::parse_norm(asked.norm, "--norm");
  if (asked.eps.empty() && threat.norm != usual.norm) {
    usage_error("--norm ", asked.norm, " needs --eps: ", whose, " radius is one of ",
                attack::norm_name(usual.norm), ", which means something else");
  }
  const double largest = attack::largest_eps_pixels(threat.norm);
  std::vector<attack::ThreatModel> threats;
  if (asked.eps.empty() && asked.curve == "eps") {
    for (int quarters : kRadiiOfCurve) {
      const double eps = usual.eps_pixels * quarters / 4;
      if (eps <= largest) threats.push_back({threat.norm, eps});
    }
    return threats;
  }
  if (asked.eps.empty()) return {threat};
  for (const std::string& eps : asked.eps) {
    threat.eps_pixels = parse_eps_pixels(eps, "--eps", largest);
    for (const attack::ThreatModel& other : threats) {
      if (other.eps_pixels == threat.eps_pixels)
        usage_error("--eps names the radius ", format_eps(threat.eps_pixels), " twice");
    }
    threats.push_back(threat);
  }
  return threats;
}

bool asks_for_clean(const AskedAttacks& asked) {
  return std::find(asked.attacks.begin(), asked.attacks.end(), "clean") != asked.attacks.end();
}

std::vector<NamedAttack> named_attacks(const AskedAttacks& asked) {
  const std::vector<std::string> curves = {"", "eps", "steps", "step-size"};
  if (std::find(curves.begin(), curves.end(), asked.curve) == curves.end()) {
    usage_error("--curve must be eps, steps or step-size, not \"", asked.curve, "\"");
  }
  std::vector<NamedAttack> all;
  for (auto name = asked.attacks.begin(); name != asked.attacks.end(); ++name) {
    if (std::find(asked.attacks.begin(), name, *name) != name)
      usage_error("--attack names \"", *name, "\" twice");
    if (*name == "clean") continue;
    const NamedAttack named = plain(*name);
    if (asked.curve == "steps")
      spread_over_steps(named, all);
    else if (asked.curve == "step-size")
      spread_over_step_sizes(named, all);
    else
      all.push_back(named);
  }
  if (all.empty() && !asked.curve.empty()) {
    usage_error("--curve needs an attack, say --attack pgd20");
  }
  return all;
}

std::unique_ptr<attack::Attack> make_named_attack(const NamedAttack& named,
                                                  const attack::ThreatModel& threat,
                                                  std::int64_t classes, std::int64_t batch,
                                                  bool for_transfer) {
  if (!(threat.eps_pixels > 0)) {
    usage_error("attack \"", named.name, "\" needs a radius above 0: say which with --eps");
  }
  const double step = named.step_share < 0 ? -1 : named.step_share * threat.eps_pixels;
  return attack::make_attack(
      named.name, threat,
      {.classes = classes, .batch = batch, .step_pixels = step, .for_transfer = for_transfer});
}

bool is_auto_attack(const attack::Attack& attack) { return attack.name().starts_with("AA-"); }

}  // namespace cmat::continual
