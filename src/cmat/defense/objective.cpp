#include "cmat/defense/objective.h"

#include "cmat/attack/pgd.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/defense/anp_vs.h"
#include "cmat/defense/composed.h"
#include "cmat/defense/training_attack.h"

namespace cmat::defense {
namespace {

using attack::NetworkClassifier;

TrainingPgdOptions read_training_pgd(Config& config, const attack::ThreatModel& threat) {
  TrainingPgdOptions o;
  o.pgd = attack::read_pgd_options(config, "objective", threat, /*evaluation=*/false, 10);
  const std::string mode = config.string("objective.attack_mode", "eval", {"eval", "train"});
  if (mode == "train") o.mode = NetworkClassifier::Mode::train;
  o.eps_warmup = config.number("objective.eps_warmup", 0, 0, 1);
  return o;
}

/// The original program's attack has a step and a start of its own, and trains in one way.
void check_as_published(const std::string& name, const TrainingPgdOptions& o) {
  if (!o.pgd.threat.as_published) return;
  if (name != "pgd-at") {
    usage_error("objective.name = \"", name,
                "\" does not know threat.model = \"as-published\", which ",
                "the original program trained under: use objective.name = \"pgd-at\"");
  }
  if (o.eps_warmup > 0) {
    usage_error("objective.eps_warmup = ", o.eps_warmup,
                " has no meaning under threat.model = ", "\"as-published\": leave it out");
  }
}

FastOptions read_fast(Config& config, const TrainingPgdOptions& pgd) {
  FastOptions o;
  o.pgd = pgd;
  const attack::ThreatModel& threat = pgd.pgd.threat;
  const std::string step = config.string("objective.fast_step", "auto");
  o.step_pixels = step == "auto" ? 1.25 * threat.eps_pixels
                                 : parse_eps_pixels(step, "objective.fast_step",
                                                    attack::largest_eps_pixels(threat.norm));
  o.guard_every = static_cast<int>(config.integer("objective.guard_every", 50, 0, 1000000));
  o.guard_drop = config.number("objective.guard_drop", 0.2, 0, 1);
  return o;
}

LossOptions read_loss(Config& config, const std::string& name) {
  LossOptions o;
  const double trades_beta = config.number("objective.trades_beta", 6, 0, 1000);
  const double mart_beta = config.number("objective.mart_beta", 5, 0, 1000);
  if (name == "trades") {
    o.kind = LossKind::trades;
    o.beta = trades_beta;
  }
  if (name == "mart") {
    o.kind = LossKind::mart;
    o.beta = mart_beta;
  }
  o.label_smoothing = config.number("objective.label_smoothing", 0, 0, 1);
  o.distillation = config.number("objective.distillation", 0, 0, 1);
  o.temperature = config.number("objective.temperature", 1, 0.01, 1000);
  o.awp = config.number("objective.awp", 0, 0, 1);
  o.awp_warmup = config.number("objective.awp_warmup", 0, 0, 1);
  return o;
}

AnpVsOptions read_anp_vs(Config& config) {
  AnpVsOptions o;
  o.adversarial = config.number("objective.anp_adversarial", 2, 0, 1000);
  o.vulnerability = config.number("objective.anp_vulnerability", 0.1, 0, 1000);
  o.divergence = config.number("objective.anp_divergence", 1, 0, 1000);
  o.mask_lr = config.number("objective.anp_mask_lr", 0.01, 0, 1);
  o.shared_noise = config.boolean("objective.anp_shared_noise", false);
  return o;
}

void refuse_options_of_anp_vs(const LossOptions& loss) {
  const char* key = loss.awp > 0 ? "awp" : loss.distillation > 0 ? "distillation" : nullptr;
  if (!key) return;
  usage_error("objective.name = \"anp-vs\" has losses of its own, without objective.", key,
              ": set it to 0");
}

}  // namespace

const std::vector<std::string>& objective_names() {
  static const std::vector<std::string> names = {"standard", "pgd-at", "pretrained-at", "free",
                                                 "fast",     "trades", "mart",          "anp-vs"};
  return names;
}

std::unique_ptr<Objective> make_objective(Config& config, const attack::ThreatModel& threat) {
  const std::string name = config.string("objective.name", "pgd-at", objective_names());
  TrainingPgdOptions pgd = read_training_pgd(config, threat);
  check_as_published(name, pgd);
  const FastOptions fast = read_fast(config, pgd);
  const auto replays = static_cast<int>(config.integer("objective.free_replays", 8, 1, 1000));
  const LossOptions loss = read_loss(config, name);
  AnpVsOptions anp_vs = read_anp_vs(config);
  if (name == "anp-vs") {
    refuse_options_of_anp_vs(loss);
    anp_vs.label_smoothing = loss.label_smoothing;
    return make_anp_vs(make_training_pgd(pgd), anp_vs);
  }

  std::unique_ptr<TrainingAttack> attack;
  if (name == "standard") {
    attack = make_no_attack();
  } else if (name == "fast") {
    attack = make_fast(fast);
  } else if (name == "free") {
    attack = make_free({.pgd = pgd, .replays = replays});
  } else {
    if (name == "trades") pgd.climb = Climb::from_prediction;
    if (name == "mart") pgd.climb = Climb::from_noise;
    attack = make_training_pgd(pgd);
  }
  return make_composed(name, std::move(attack), loss);
}

}  // namespace cmat::defense
