#include "cmat/attack/auto_attack.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/apgd.h"
#include "cmat/attack/fab.h"
#include "cmat/attack/rows.h"
#include "cmat/attack/square.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

using Version = AutoAttackOptions::Version;

constexpr int published_targets = 9;

/// One attack of the recipe, cut into runs (restarts and targets), between which the images that
/// were broken leave.
struct Stage {
  std::string name, recipe;
  std::vector<std::unique_ptr<Attack>> runs;
};

/// Builds the stages of a recipe.
class Recipe {
 public:
  explicit Recipe(const AutoAttackOptions& options)
      : options_(options),
        targets_(static_cast<int>(std::min<std::int64_t>(published_targets, options.classes - 1))) {
  }

  std::vector<Stage> stages() const {
    std::vector<Stage> result;
    if (options_.version == Version::standard) {
      result.push_back(apgd(Loss::cross_entropy, 1, 1));
      result.push_back(apgd(Loss::dlr_targeted, 1, 1));
      result.push_back(fab(true, 1));
      result.push_back(square());
    } else if (options_.version == Version::plus) {
      result.push_back(apgd(Loss::cross_entropy, 5, 1));
      result.push_back(apgd(Loss::dlr, 5, 1));
      result.push_back(fab(false, 5));
      result.push_back(square());
      result.push_back(apgd(Loss::dlr_targeted, 1, 1));
      result.push_back(fab(true, 1));
    } else {
      result.push_back(apgd(Loss::cross_entropy, 1, 20));
      result.push_back(apgd(Loss::dlr, 1, 20));
    }
    return result;
  }
  int targets() const { return targets_; }

 private:
  Stage apgd(Loss loss, int restarts, int eot) const {
    ApgdOptions o = {.threat = options_.threat,
                     .loss = loss,
                     .steps = options_.apgd_steps,
                     .restarts = restarts,
                     .targets = targets_,
                     .eot = eot};
    return cut(o, is_targeted(loss), make_apgd);
  }
  Stage fab(bool targeted, int restarts) const {
    FabOptions o = {.threat = options_.threat,
                    .steps = options_.fab_steps,
                    .restarts = restarts,
                    .targeted = targeted,
                    .targets = targets_,
                    .stop_inside = true};
    return cut(o, targeted, make_fab);
  }
  Stage square() const {
    Stage stage;
    stage.runs.push_back(
        make_square({.threat = options_.threat, .queries = options_.square_queries}));
    stage.name = stage.runs[0]->name();
    stage.recipe = stage.runs[0]->recipe();
    return stage;
  }

  /// One run for each target and restart; named as the whole.
  template <typename Options, typename Make>
  static Stage cut(const Options& whole, bool targeted, const Make& make) {
    Stage stage;
    const auto attack = make(whole);
    stage.name = attack->name();
    stage.recipe = attack->recipe();
    for (int target = 0; target < (targeted ? whole.targets : 1); ++target) {
      for (int restart = 0; restart < whole.restarts; ++restart) {
        Options run = whole;
        run.targets = run.restarts = 1;
        run.first_rank = 2 + target;
        run.first_restart = restart;
        stage.runs.push_back(make(run));
      }
    }
    return stage;
  }

  const AutoAttackOptions& options_;
  int targets_;
};

/// The rows first, first+1, ... of `rows`, filled up to `batch` with copies of the last.
at::Tensor filled_batch(const at::Tensor& rows, std::int64_t first, std::int64_t batch) {
  const at::Tensor wanted = at::arange(first, first + batch, rows.options());
  return rows.index_select(0, wanted.clamp_max(rows.size(0) - 1));
}

/// The whole of one AutoAttack on one set of images.
class Campaign {
 public:
  Campaign(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
           const std::vector<std::int64_t>& sample_ids, const AutoAttackOptions& options)
      : model_(model),
        images_(images),
        labels_(labels),
        sample_ids_(sample_ids),
        options_(options),
        batch_(std::min(options.batch, images.size(0))),
        fills_(!model.rows_are_independent(images)),
        verdicts_before_(model.fill_verdicts(batch_)),
        adversarial_(images.clone()),
        broken_by_(at::full_like(labels, -1)) {}
  ~Campaign() { model_.fill_verdicts(verdicts_before_); }
  Campaign(const Campaign&) = delete;
  Campaign& operator=(const Campaign&) = delete;

  AttackResult run(const std::vector<Stage>& stages, const Key& key);

 private:
  /// Rows first, first + 1, ... of `rows` as the next batch, filled up if the network needs that.
  at::Tensor next_batch(const at::Tensor& rows, std::int64_t first) const {
    return filled_batch(rows, first, fills_ ? batch_ : std::min(batch_, rows.size(0) - first));
  }
  void look_at_clean_images();
  AttackPart run(const Stage& stage, std::int64_t number, const Key& key);
  void attack_left(Attack& attack, std::int64_t stage, const Key& key);
  at::Tensor left() const { return broken_.logical_not().nonzero().squeeze(1); }
  AttackResult result();

  Classifier& model_;
  const at::Tensor &images_, &labels_;
  const std::vector<std::int64_t>& sample_ids_;
  const AutoAttackOptions& options_;
  std::int64_t batch_;
  bool fills_;  ///< batches up to one size
  std::int64_t verdicts_before_;
  at::Tensor adversarial_, broken_, broken_by_;
};

void Campaign::look_at_clean_images() {
  broken_ = at::zeros_like(labels_, at::kBool);
  const at::Tensor all = at::arange(images_.size(0), labels_.options());
  for (std::int64_t first = 0; first < all.size(0); first += batch_) {
    const at::Tensor rows = next_batch(all, first);
    const at::Tensor logits = model_.logits(images_.index_select(0, rows));
    if (logits.size(1) != options_.classes) {
      usage_error("AutoAttack was set up for ", options_.classes, " classes, but the network has ",
                  logits.size(1));
    }
    check_labels(labels_, options_.classes);
    broken_.index_put_({rows}, logits.argmax(1) != labels_.index_select(0, rows));
  }
}

/// One run of an attack on all images that are left.
void Campaign::attack_left(Attack& attack, std::int64_t stage, const Key& key) {
  const at::Tensor rows = left();
  for (std::int64_t first = 0; first < rows.size(0); first += batch_) {
    const at::Tensor chosen = next_batch(rows, first);
    std::vector<std::int64_t> ids;
    const at::Tensor on_cpu = chosen.to(at::kCPU);
    for (std::int64_t i = 0; i < on_cpu.size(0); ++i) {
      ids.push_back(sample_ids_[static_cast<std::size_t>(on_cpu[i].item<std::int64_t>())]);
    }
    const AttackResult r = attack.run(model_, images_.index_select(0, chosen),
                                      labels_.index_select(0, chosen), ids, key);
    // A copy that fills up has the same result as its original, up to the network's rounding: only
    // the original counts.
    const std::int64_t real = std::min(batch_, rows.size(0) - first);
    const at::Tensor hits = r.fooled.narrow(0, 0, real).nonzero().squeeze(1);
    const at::Tensor hit_rows = chosen.index_select(0, hits);
    adversarial_.index_copy_(0, hit_rows, r.adversarial.index_select(0, hits));
    broken_.index_fill_(0, hit_rows, true);
    broken_by_.index_fill_(0, hit_rows, stage);
  }
}

AttackPart Campaign::run(const Stage& stage, std::int64_t number, const Key& key) {
  const std::int64_t forwards = model_.forwards(), backwards = model_.backwards();
  AttackPart part{.name = stage.name, .recipe = stage.recipe, .attacked = left().size(0)};
  // The runs of a stage number their random starts themselves.
  for (const auto& attack : stage.runs) attack_left(*attack, number, part_key(key, number));
  part.broken = part.attacked - left().size(0);
  part.forwards = model_.forwards() - forwards;
  part.backwards = model_.backwards() - backwards;
  return part;
}

/// finish() batch by batch: all images at once may be too many for the network.
AttackResult Campaign::result() {
  const at::Tensor all = at::arange(images_.size(0), labels_.options());
  std::vector<at::Tensor> predictions, distances;
  for (std::int64_t first = 0; first < all.size(0); first += batch_) {
    const at::Tensor rows = next_batch(all, first);
    const AttackResult r =
        finish(model_, images_.index_select(0, rows), labels_.index_select(0, rows),
               adversarial_.index_select(0, rows), options_.threat);
    const std::int64_t real = std::min(batch_, all.size(0) - first);
    predictions.push_back(r.predictions.narrow(0, 0, real));
    distances.push_back(r.distance.narrow(0, 0, real));
  }
  AttackResult result;
  result.adversarial = adversarial_;
  result.predictions = at::cat(predictions);
  result.fooled = result.predictions != labels_;
  result.distance = at::cat(distances);
  result.broken_by = broken_by_;
  return result;
}

AttackResult Campaign::run(const std::vector<Stage>& stages, const Key& key) {
  const std::int64_t forwards = model_.forwards(), backwards = model_.backwards();
  look_at_clean_images();
  std::vector<AttackPart> parts;
  for (const Stage& stage : stages) {
    parts.push_back(run(stage, static_cast<std::int64_t>(parts.size()), key));
  }
  AttackResult r = result();
  r.parts = std::move(parts);
  r.forwards = model_.forwards() - forwards;
  r.backwards = model_.backwards() - backwards;
  return r;
}

class AutoAttack : public Attack {
 public:
  explicit AutoAttack(const AutoAttackOptions& options)
      : options_(options),
        targets_(Recipe(options_).targets()),
        stages_(Recipe(options_).stages()) {}

  AttackResult run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                   const std::vector<std::int64_t>& sample_ids, const Key& key) override {
    check_inputs(images, labels, sample_ids);
    return Campaign(model, images, labels, sample_ids, options_).run(stages_, key);
  }
  std::string name() const override;
  std::string recipe() const override;
  double most_passes(std::int64_t classes) const override {
    double passes = 2;
    for (const Stage& stage : stages_) {
      for (const auto& run : stage.runs) passes += run->most_passes(classes);
    }
    return passes;
  }

 private:
  AutoAttackOptions options_;
  int targets_;
  std::vector<Stage> stages_;
};

std::string AutoAttack::name() const {
  std::string version = "standard";
  if (options_.version == Version::plus) version = "plus";
  if (options_.version == Version::rand) version = "rand";
  std::string result = text("AA-", version, "[C=", options_.classes, ",t=", targets_);
  const AutoAttackOptions published;
  if (options_.apgd_steps != published.apgd_steps) result += text(",apgd=", options_.apgd_steps);
  if (options_.fab_steps != published.fab_steps) result += text(",fab=", options_.fab_steps);
  if (options_.square_queries != published.square_queries) {
    result += text(",square=", options_.square_queries);
  }
  return result + "]";
}

std::string AutoAttack::recipe() const {
  std::string result =
      text(name(), ", worst case of ", stages_.size(), " attacks on ",
           norm_name(options_.threat.norm), " eps = ", format_eps(options_.threat.eps_pixels));
  for (const Stage& stage : stages_) result += text("; ", stage.name, ": ", stage.recipe);
  return result;
}

}  // namespace

std::unique_ptr<Attack> make_auto_attack(const AutoAttackOptions& options) {
  const AutoAttackOptions& o = options;
  if (o.threat.norm == Norm::l1) usage_error("AutoAttack attacks in linf and l2, not in l1");
  if (o.classes < 2) {
    usage_error("AutoAttack needs a network of at least 2 classes, not ", o.classes);
  }
  if (o.batch < 1) usage_error("AutoAttack needs batches of at least one image, not ", o.batch);
  return std::make_unique<AutoAttack>(options);
}

}  // namespace cmat::attack
