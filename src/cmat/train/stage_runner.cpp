#include "cmat/train/stage_runner.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>

#include "cmat/core/error.h"
#include "cmat/defense/batch.h"
#include "cmat/train/task_heads.h"

namespace cmat::train {
namespace {

constexpr std::int64_t kMaxRetries = 3;

/// Early averages would remember the start: decay rises as (1 + t) / (10 + t).
double average_decay(double limit, std::int64_t step) {
  const auto t = static_cast<double>(step);
  return std::min(limit, (1 + t) / (10 + t));
}

/// Which entries the active task may change: what it owns of the shared weights, and all the rest.
std::vector<at::Tensor> changeable(Model& model) {
  std::map<std::string, at::Tensor> owned;
  const nn::WeightBank& bank = model.bank();
  for (const auto& layer : bank.layers()) {
    owned[layer.name] = layer.state.owners.eq(bank.active_task());
  }
  std::vector<at::Tensor> masks;
  for (const nn::NamedTensor& p : model.network().parameters()) masks.push_back(owned[p.name]);
  return masks;
}

at::Tensor average_logits(Model& model, const at::Tensor& images) {
  const c10::NoGradGuard no_grad;
  model.show_averages();
  model.network().set_training(false);
  at::Tensor logits = model.network().forward(images);
  model.hide_averages();
  return logits;
}

}  // namespace

std::int64_t batch_size(const Settings& settings, const data::Task& task) {
  return std::min(settings.optimizer.batch, static_cast<std::int64_t>(task.train.size()));
}

std::int64_t steps_per_epoch(const Settings& settings, const data::Task& task) {
  return static_cast<std::int64_t>(task.train.size()) / batch_size(settings, task);
}

StageRunner::StageRunner(const Settings& settings, const data::Stream& stream,
                         defense::Objective& objective, Model& model, RunState& state,
                         StageHooks hooks)
    : settings_(settings),
      stream_(stream),
      objective_(objective),
      model_(model),
      state_(state),
      hooks_(std::move(hooks)),
      validation_attack_(objective.validation_attack()) {
  objective_.set_model(
      {.changeable = [&model] { return changeable(model); },
       .average_logits =
           [&model](const at::Tensor& images) { return average_logits(model, images); }});
}

const StageSettings& StageRunner::settings_of(const StageSpec& stage) const {
  if (stage.kind == "repick") return settings_.repick;
  // A method without compaction spends its whole budget in "train"; where the config has no such
  // stage, it follows the schedule of the stage that the others train in.
  if (stage.kind == "compact" || settings_.train.epochs == 0) return settings_.compact;
  return settings_.train;
}

const data::Task& StageRunner::task() const {
  return stream_.tasks[static_cast<std::size_t>(state_.task - 1)];
}

std::int64_t StageRunner::steps_per_epoch() const {
  return train::steps_per_epoch(settings_, task());
}

Key StageRunner::key(std::int64_t epoch) const {
  return {.seed = settings_.seed,
          .task = static_cast<std::uint64_t>(state_.task),
          .stage = static_cast<std::uint64_t>(state_.stage->number * 8 + state_.retries),
          .epoch = static_cast<std::uint64_t>(epoch)};
}

void StageRunner::start(const StageSpec& stage) {
  model_.restore(state_.accepted);
  if (stage.width > model_.width()) model_.grow(stage.width);
  if (stage.kind == "repick") model_.bank().reset_picks();
  model_.begin_stage(settings_.optimizer.average_decay > 0);
  objective_.begin_stage();
  state_.stage = stage;
  state_.epoch = state_.step = 0;
  state_.loss_sum = 0;
  state_.correct = state_.seen = 0;
  state_.best = {};
}

void StageRunner::warm_up_norms() {
  const data::Task& task = this->task();
  const c10::NoGradGuard no_grad;
  model_.network().set_training(true);
  model_.network().set_dropout_key(
      {.seed = settings_.seed, .task = static_cast<std::uint64_t>(state_.task)});
  const auto size = static_cast<std::size_t>(batch_size(settings_, task));
  Random random({.seed = settings_.seed,
                 .task = static_cast<std::uint64_t>(state_.task),
                 .purpose = Purpose::shuffle});
  const std::vector<std::int64_t> order =
      random.permutation(static_cast<std::int64_t>(task.train.size()));
  for (std::int64_t b = 0; b < settings_.optimizer.norm_warmup; ++b) {
    std::vector<std::int64_t> indices;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = (static_cast<std::size_t>(b) * size + i) % order.size();
      indices.push_back(task.train[static_cast<std::size_t>(order[at])]);
    }
    const defense::Batch batch =
        defense::make_batch(task.source->train, task, indices, {}, {}, model_.options().device);
    model_.network().forward(batch.images);
  }
  model_.network().set_training(false);
}

std::int64_t StageRunner::ramp_begin() const {
  if (state_.stage->one_shot) return ramp_end();
  const auto total = state_.stage->epochs * steps_per_epoch();
  const auto begin = std::llround(settings_.optimizer.ramp_begin * static_cast<double>(total));
  return std::min<std::int64_t>(begin, ramp_end());
}

std::int64_t StageRunner::ramp_end() const {
  const auto total = state_.stage->epochs * steps_per_epoch();
  const auto end = std::llround(settings_.optimizer.ramp_end * static_cast<double>(total));
  return std::min<std::int64_t>(end, total - 1);
}

void StageRunner::prune_if_due() {
  const StageSpec& stage = *state_.stage;
  if (stage.kind != "compact" || stage.ratio <= 0) return;
  const std::int64_t step = state_.epoch * steps_per_epoch() + state_.step;
  const std::int64_t begin = ramp_begin(), end = ramp_end();
  const bool due = step == end || (step > begin && step < end &&
                                   (step - begin) % settings_.optimizer.prune_every == 0);
  if (due) {
    model_.bank().prune(pruning_ratio(stage.start_ratio, stage.ratio, step - begin, end - begin));
  }
}

defense::Batch StageRunner::next_batch() {
  if (!feed_) {
    feed_.emplace(task(), FeedOptions{.batch = batch_size(settings_, task()),
                                      .steps = state_.stage->epochs * steps_per_epoch(),
                                      .replays = objective_.replays(),
                                      .stage = key(0),
                                      .augmentation = settings_.augmentation,
                                      .workers = settings_.stream.source.folder.workers,
                                      .device = model_.options().device});
  }
  return feed_->at(state_.epoch * steps_per_epoch() + state_.step);
}

bool StageRunner::heads_of_tasks() const {
  return !task().joined.empty() && settings_.method.joint_head == "tasks";
}

defense::StepLoss StageRunner::step_loss(defense::Batch& batch) {
  if (!heads_of_tasks()) return objective_.step(model_.network(), batch, key(state_.epoch));
  TaskHeads network(model_.network(), task().joined);
  batch.labels = network.choose(batch.labels);
  return objective_.step(network, batch, key(state_.epoch));
}

bool StageRunner::train_step(defense::Batch batch) {
  const StageSpec& stage = *state_.stage;
  const StageSettings& kind = settings_of(stage);
  const std::int64_t steps = stage.epochs * steps_per_epoch();
  const std::int64_t step = state_.epoch * steps_per_epoch() + state_.step;
  objective_.set_progress(static_cast<double>(step) / static_cast<double>(steps));
  // Drawn anew at every step, so that a resumed run draws what an undisturbed one does.
  model_.network().set_dropout_key(
      key(state_.epoch).for_step(static_cast<std::uint64_t>(state_.step)));
  const defense::StepLoss result = step_loss(batch);
  const double loss = result.loss.item<double>();
  if (!std::isfinite(loss)) return false;

  const nn::SplitGradients gradients = nn::split_gradients(
      model_.network(), model_.shared_names(), defense::weight_gradients(result, model_.network()));

  const c10::NoGradGuard no_grad;
  const double shape =
      kind.schedule.at(step, steps, state_.epoch) / std::max(kind.schedule.lr, 1e-30);
  // A network of its own is a first task every time.
  const bool first = state_.task == 1 || model_.options().sharing == Sharing::separate;
  const double later = first ? 1 : settings_.optimizer.later_lr_factor;
  nn::UpdateOptions update;
  update.sgd = {.lr = kind.schedule.lr * shape * stage.lr_scale * later,
                .momentum = settings_.optimizer.momentum,
                .weight_decay = settings_.optimizer.weight_decay,
                .nesterov = settings_.optimizer.nesterov};
  update.adam = settings_.pick_adam;
  update.adam.lr = kind.pick_lr * shape * stage.lr_scale;
  update.train_picks = kind.pick_lr > 0;
  update.average_decay = average_decay(settings_.optimizer.average_decay, step);
  if (!model_.body_is_fixed()) model_.bank().update(gradients.shared, update);
  nn::SgdOptions part = update.sgd;
  if (!settings_.optimizer.decay_head) part.weight_decay = 0;
  model_.part_optimizer().update(gradients.own, part);
  model_.part_optimizer().average(update.average_decay);

  state_.loss_sum += loss;
  state_.correct += result.logits.argmax(1).eq(batch.labels).sum().item<std::int64_t>();
  state_.seen += std::ssize(batch.sample_ids);
  state_.forwards += result.forwards;
  state_.backwards += result.backwards;
  ++state_.steps_done;
  return true;
}

void StageRunner::retry() {
  if (++state_.retries > kMaxRetries) {
    failure("the loss of task ", state_.task, " stayed not finite after ", kMaxRetries,
            " retries at smaller learning rates: lower ", state_.stage->kind, ".lr");
  }
  feed_.reset();  // a retry shuffles anew
  StageSpec again = *state_.stage;
  again.lr_scale /= 2;
  if (hooks_.on_event) {
    hooks_.on_event({{"event", "retry"},
                     {"task", state_.task},
                     {"stage", again.kind},
                     {"reason", "a loss or a weight was not finite"},
                     {"lr_scale", again.lr_scale}});
  }
  start(again);
}

StageRunner::Result StageRunner::run(StageOutcome& outcome) {
  feed_.reset();
  while (state_.epoch < state_.stage->epochs) {
    const std::int64_t retries = state_.retries;
    while (state_.step < steps_per_epoch()) {
      prune_if_due();
      if (!train_step(next_batch())) {
        retry();
        break;
      }
      ++state_.step;
      if (state_.step == steps_per_epoch()) end_epoch();
      if (hooks_.after_step && hooks_.after_step()) {
        feed_.reset();
        return Result::stopped;
      }
      if (state_.step == 0) break;  // end_epoch moved on
    }
    if (state_.retries != retries) continue;
  }
  feed_.reset();
  if (!state_.best.tensors.empty())
    model_.restore(state_.best);
  else if (settings_.optimizer.average_decay > 0)
    model_.adopt_averages();
  // A last step may have spoiled the weights, and no later loss would tell.
  if (!weights_are_finite()) {
    retry();
    return run(outcome);
  }
  objective_.end_stage(model_.network());
  outcome = validate();
  outcome.stage = *state_.stage;
  state_.stage.reset();
  state_.best = {};
  objective_.begin_stage();  // nothing of this one is to be kept
  return Result::finished;
}

bool StageRunner::weights_are_finite() const {
  for (const nn::NamedTensor& p : model_.network().parameters()) {
    if (!at::isfinite(p.tensor).all().item<bool>()) return false;
  }
  return true;
}

void StageRunner::end_epoch() {
  const std::optional<StageOutcome> validated = consider_best();
  if (hooks_.on_event) {
    const auto steps = static_cast<double>(std::max<std::int64_t>(state_.step, 1));
    nlohmann::json event = {
        {"event", "epoch"},
        {"task", state_.task},
        {"stage", state_.stage->kind},
        {"epoch", state_.epoch + 1},
        {"epochs", state_.stage->epochs},
        {"loss", state_.loss_sum / steps},
        {"train_accuracy", static_cast<double>(state_.correct) /
                               static_cast<double>(std::max<std::int64_t>(state_.seen, 1))},
        {"free_share",
         static_cast<double>(model_.bank().free_weights()) /
             static_cast<double>(std::max<std::int64_t>(model_.bank().weights(), 1))}};
    if (validated) {
      event["validation"] = {{"clean_accuracy", validated->clean_accuracy},
                             {"robust_accuracy", validated->robust_accuracy},
                             {"robust_loss", validated->loss}};
      event["best_so_far"] = validated->accepted;
    }
    for (const auto& [name, value] : objective_.figures()) event["objective"][name] = value;
    hooks_.on_event(event);
  }
  ++state_.epoch;
  state_.step = 0;
  state_.loss_sum = 0;
  state_.correct = state_.seen = 0;
}

std::optional<StageOutcome> StageRunner::consider_best() {
  if (settings_.method.select != "best") return std::nullopt;
  // An epoch before the end of the ramp has not given back what the stage must.
  const bool compacting = state_.stage->kind == "compact" && state_.stage->ratio > 0;
  if (compacting && (state_.epoch + 1) * steps_per_epoch() <= ramp_end()) return std::nullopt;
  if (!weights_are_finite()) return std::nullopt;
  const bool average = settings_.optimizer.average_decay > 0;
  if (average) model_.show_averages();
  StageOutcome outcome = validate();
  if (average) model_.hide_averages();
  if (std::isnan(outcome.loss)) outcome.loss = std::numeric_limits<double>::infinity();
  outcome.accepted = state_.best.tensors.empty() || outcome.loss < state_.best_loss;
  if (!outcome.accepted) return outcome;
  objective_.keep_epoch();
  state_.best_loss = outcome.loss;
  if (!average) {
    state_.best = model_.snapshot();
    return outcome;
  }
  // The averages become the snapshot; the training state comes back afterwards.
  TensorFile kept;
  model_.save(kept, "", /*training=*/true);
  model_.adopt_averages();
  state_.best = model_.snapshot();
  model_.load(kept, "");
  return outcome;
}

eval::Verdicts StageRunner::validation_verdicts(attack::Attack* attack) {
  const eval::EvalOptions options{settings_.evaluation.batch, model_.options().device};
  // The same draws for every outcome of a task, so that differences are paired.
  const Key draws{.seed = settings_.seed,
                  .task = static_cast<std::uint64_t>(state_.task),
                  .purpose = Purpose::evaluation};
  const data::Task& task = this->task();
  if (heads_of_tasks()) return evaluate_heads(model_.network(), task, attack, options, draws);
  return eval::evaluate(model_.network(), task.source->train, task, task.validation, attack,
                        options, draws);
}

StageOutcome StageRunner::validate() {
  StageOutcome outcome;
  if (task().validation.empty()) return outcome;
  const auto accuracy = [](const eval::Verdicts& v) {
    return static_cast<double>(v.correct()) / static_cast<double>(v.total());
  };
  const eval::Verdicts clean = validation_verdicts(nullptr);
  const eval::Verdicts robust =
      validation_attack_ ? validation_verdicts(validation_attack_.get()) : clean;
  outcome.losses = robust.losses;
  outcome.loss = robust.mean_loss();
  outcome.clean_accuracy = accuracy(clean);
  outcome.robust_accuracy = accuracy(robust);
  return outcome;
}

}  // namespace cmat::train
