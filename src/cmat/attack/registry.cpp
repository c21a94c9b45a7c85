#include "cmat/attack/registry.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include "cmat/attack/apgd.h"
#include "cmat/attack/auto_attack.h"
#include "cmat/attack/cw.h"
#include "cmat/attack/deepfool.h"
#include "cmat/attack/ead.h"
#include "cmat/attack/fab.h"
#include "cmat/attack/jsma.h"
#include "cmat/attack/pgd.h"
#include "cmat/attack/square.h"
#include "cmat/core/error.h"
#include "cmat/core/listed.h"

namespace cmat::attack {
namespace {

/// What a name asks for.
struct Request {
  ThreatModel threat;
  AttackSettings settings;
  int steps, restarts;
};

using Made = std::unique_ptr<Attack>;
using Maker = std::function<Made(const Request&)>;

struct Entry {
  AttackName name;
  Maker make;
};

PgdOptions pgd_options(const Request& r) {
  PgdOptions o;
  o.threat = r.threat;
  o.steps = r.steps;
  o.step_pixels = r.settings.step_pixels >= 0 ? r.settings.step_pixels
                                              : default_step_pixels(r.threat.eps_pixels, r.steps);
  o.restarts = r.restarts;
  const bool last = r.settings.for_transfer && r.restarts == 1;
  o.keep = last ? PgdOptions::Keep::last : PgdOptions::Keep::best;
  o.alternate_losses = true;
  return o;
}

Made pgd(const Request& r) { return make_pgd(pgd_options(r)); }

Made bim(const Request& r) {
  PgdOptions o = pgd_options(r);
  o.random_start = false;
  return make_pgd(o);
}

Made mim(const Request& r) {
  PgdOptions o = pgd_options(r);
  o.random_start = false;
  o.decay = 1;
  return make_pgd(o);
}

/// One step of 1.25 eps from a random start.
Made fgsm_rs(const Request& r) {
  PgdOptions o = pgd_options(r);
  o.steps = 1;
  o.step_pixels = 1.25 * r.threat.eps_pixels;
  return make_pgd(o);
}

Maker apgd(Loss loss) {
  return [loss](const Request& r) {
    return make_apgd({.threat = r.threat, .loss = loss, .steps = r.steps, .restarts = r.restarts});
  };
}

Maker fab(bool targeted) {
  return [targeted](const Request& r) {
    return make_fab(
        {.threat = r.threat, .steps = r.steps, .restarts = r.restarts, .targeted = targeted});
  };
}

Maker auto_attack(AutoAttackOptions::Version version) {
  return [version](const Request& r) {
    return make_auto_attack({.threat = r.threat,
                             .version = version,
                             .classes = r.settings.classes,
                             .batch = r.settings.batch});
  };
}

const std::vector<Entry>& entries() {
  using Version = AutoAttackOptions::Version;
  const std::vector<Norm> two = {Norm::linf, Norm::l2}, three = {Norm::linf, Norm::l2, Norm::l1};
  static const std::vector<Entry> table = {
      {{"fgsm", three, 0, false, "one step of eps"},
       [](const Request& r) { return make_fgsm(r.threat); }},
      {{"fgsm-rs", three, 0, false, "one step of 1.25 eps from a random start"}, fgsm_rs},
      {{"bim", three, 10, false, "PGD from the image"}, bim},
      {{"mim", three, 10, false, "BIM with momentum"}, mim},
      {{"pgd", three, 20, true, "projected gradient ascent from a random start"}, pgd},
      {{"apgd-ce", three, 100, true, "APGD on the cross-entropy"}, apgd(Loss::cross_entropy)},
      {{"apgd-dlr", three, 100, true, "APGD on the difference of logits ratio"}, apgd(Loss::dlr)},
      {{"apgd-t", three, 100, true, "APGD towards each of up to 9 classes"},
       apgd(Loss::dlr_targeted)},
      {{"fab", three, 100, true, "nearest boundary"}, fab(false)},
      {{"fab-t", three, 100, true, "nearest boundary of each of up to 9 classes"}, fab(true)},
      {{"square", two, 5000, true, "random search with squares, without gradients"},
       [](const Request& r) {
         return make_square({.threat = r.threat, .queries = r.steps, .restarts = r.restarts});
       }},
      {{"cw", {Norm::l2}, 1000, false, "Carlini and Wagner's nearest point"},
       [](const Request& r) { return make_cw({.threat = r.threat, .steps = r.steps}); }},
      {{"ead", {Norm::l1}, 1000, false, "the elastic net's nearest point"},
       [](const Request& r) { return make_ead({.threat = r.threat, .steps = r.steps}); }},
      {{"jsma", {Norm::l1}, 0, false, "few values, set wholly, pair by pair"},
       [](const Request& r) { return make_jsma({.threat = r.threat}); }},
      {{"deepfool", two, 50, false, "steps onto the linearised boundary", false},
       [](const Request& r) { return make_deepfool({.threat = r.threat, .steps = r.steps}); }},
      {{"autoattack", two, 0, false, "the same as aa-standard", false},
       auto_attack(Version::standard)},
      {{"aa-standard", two, 0, false, "APGD-CE, APGD-T, FAB-T, Square", false},
       auto_attack(Version::standard)},
      {{"aa-plus", two, 0, false, "six attacks with more runs", false}, auto_attack(Version::plus)},
      {{"aa-rand", two, 0, false, "two attacks on averaged gradients", false},
       auto_attack(Version::rand)},
  };
  return table;
}

/// Reads digits at the front of `rest` and removes them; 0 if there are none.
int take_number(std::string_view& rest, const std::string& name) {
  int value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  const auto length = static_cast<std::size_t>(end - rest.data());
  if (length == 0) return 0;
  if (error != std::errc() || value < 1 || value > 1000000 || rest[0] == '-') {
    usage_error("attack \"", name, "\" has a number that is not in 1 to 1000000");
  }
  rest.remove_prefix(length);
  return value;
}

/// Whether `name` is the entry's, with or without numbers; fills them in.
bool matches(const std::string& name, const AttackName& entry, Request& request) {
  if (!name.starts_with(entry.name)) return false;
  std::string_view rest = std::string_view(name).substr(entry.name.size());
  request.steps = entry.steps;
  request.restarts = 1;
  if (rest.empty()) return true;
  const bool digit = rest[0] >= '0' && rest[0] <= '9';
  const bool runs = rest[0] == 'x' && rest.size() > 1;
  if (!digit && !runs) return false;  // "fab-t" is not "fab"
  if (digit) {
    if (entry.steps == 0) usage_error("attack \"", entry.name, "\" takes no number of steps");
    request.steps = take_number(rest, name);
  }
  if (rest.size() > 1 && rest[0] == 'x') {
    rest.remove_prefix(1);
    const int count = take_number(rest, name);
    if (count == 0) return false;
    if (!entry.restarts) usage_error("attack \"", entry.name, "\" takes no number of runs");
    request.restarts = count;
  }
  return rest.empty();
}

[[noreturn]] void refuse_norm(const AttackName& entry, Norm norm) {
  std::vector<std::string> able;
  for (const AttackName& other : attack_names()) {
    if (std::find(other.norms.begin(), other.norms.end(), norm) != other.norms.end()) {
      able.push_back(other.name);
    }
  }
  usage_error("attack \"", entry.name, "\" does not work in ", norm_name(norm), ": use ",
              listed(able));
}

}  // namespace

const std::vector<AttackName>& attack_names() {
  static const std::vector<AttackName> names = [] {
    std::vector<AttackName> result;
    for (const Entry& entry : entries()) result.push_back(entry.name);
    return result;
  }();
  return names;
}

void refuse_targets(const std::string& name) {
  std::vector<std::string> able;
  for (const AttackName& entry : attack_names()) {
    if (entry.targets) able.push_back(entry.name);
  }
  usage_error("attack \"", name, "\" cannot be sent to chosen classes: use ", listed(able));
}

std::unique_ptr<Attack> make_attack(const std::string& name, const ThreatModel& threat,
                                    const AttackSettings& settings) {
  Request request{.threat = threat, .settings = settings, .steps = 0, .restarts = 1};
  for (const Entry& entry : entries()) {
    if (!matches(name, entry.name, request)) continue;
    const std::vector<Norm>& norms = entry.name.norms;
    if (std::find(norms.begin(), norms.end(), threat.norm) == norms.end()) {
      refuse_norm(entry.name, threat.norm);
    }
    if (threat.as_published) {
      usage_error("attack \"", name,
                  "\" takes a radius in pixels, which the threat model as-published ",
                  "does not have");
    }
    if (!(threat.eps_pixels > 0) || !std::isfinite(threat.eps_pixels)) {
      usage_error("attack \"", name, "\" needs a radius above 0, not ", threat.eps_pixels);
    }
    if (settings.classes == 1) {
      usage_error("attack \"", name, "\" needs a network of at least 2 classes, not 1");
    }
    return entry.make(request);
  }
  std::vector<std::string> known;
  for (const AttackName& entry : attack_names()) known.push_back(entry.name);
  usage_error("there is no attack \"", name, "\": use ", listed(known),
              ", with numbers where they take them, say pgd20x2 for 20 steps and 2 runs");
}

}  // namespace cmat::attack
