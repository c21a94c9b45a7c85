#include "cmat/nn/bank.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "cmat/core/error.h"
#include "cmat/nn/growth.h"
#include "cmat/nn/pruning.h"
#include "cmat/nn/tensors.h"

namespace cmat::nn {
namespace {

bool same_strides(const at::Tensor& a, const at::Tensor& b) { return a.strides() == b.strides(); }

/// Kaiming-normal with fan-out for the filters in `dead` (indices of dim 0), own entries only.
/// Drawn in float64 and in logical order, so that neither dtype nor layout nor device changes a
/// draw.
void reinitialize_filters(const WeightBank::Layer& layer, const std::vector<std::int64_t>& dead,
                          int task, const Key& key) {
  at::Tensor values = layer.state.values.to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor owners = layer.state.owners.to(at::kCPU).contiguous();
  const std::int64_t filter = values.numel() / values.size(0);
  const std::int64_t window = values.dim() == 4 ? values.size(2) * values.size(3) : 1;
  const double deviation = std::sqrt(2.0 / static_cast<double>(values.size(0) * window));
  auto* value = values.data_ptr<double>();
  const auto* owner = owners.const_data_ptr<std::uint8_t>();
  for (std::int64_t f : dead) {
    Random random(key.for_sample(static_cast<std::uint64_t>(f)));
    for (std::int64_t i = f * filter; i < (f + 1) * filter; ++i) {
      const double draw = deviation * random.normal();
      if (owner[i] == task) value[i] = draw;
    }
  }
  layer.state.values.copy_(values);
}

/// Output filters without a single weight that the task could use.
std::vector<std::int64_t> dead_filters(const WeightBank::Layer& layer) {
  const at::Tensor alive = layer.state.effective.detach().ne(0).flatten(1).any(1).to(at::kCPU);
  std::vector<std::int64_t> dead;
  for (std::int64_t f = 0; f < alive.numel(); ++f) {
    if (!alive[f].item<bool>()) dead.push_back(f);
  }
  return dead;
}

}  // namespace

std::int64_t round_half_even(double x) {
  const double below = std::floor(x);
  const double rest = x - below;
  auto result = static_cast<std::int64_t>(below);
  if (rest > 0.5 || (rest == 0.5 && result % 2 != 0)) ++result;
  return result;
}

WeightBank::WeightBank(const std::vector<NamedTensor>& shared, const PickOptions& picks)
    : picks_(picks) {
  for (const NamedTensor& entry : shared) {
    const at::Tensor live = entry.tensor.detach();  // shares storage with the parameter
    if (!live.is_non_overlapping_and_dense()) {
      failure("the weight ", entry.name, " is not dense in memory, so the bank cannot hold it");
    }
    Layer layer;
    layer.name = entry.name;
    layer.state.effective = live;
    layer.state.values = at::empty_like(live).copy_(live);
    layer.state.owners = at::zeros_like(live, live.options().dtype(at::kByte));
    layer.state.momentum = at::zeros_like(live);
    if (!same_strides(layer.state.values, live) || !same_strides(layer.state.owners, live)) {
      failure("the weight ", entry.name, " has a memory layout that the bank cannot copy");
    }
    layers_.push_back(std::move(layer));
  }
}

void WeightBank::begin_task(int task, bool picks, const Key& key) {
  if (task < 1 || task > kMaxTasks)
    failure("a bank holds ", kMaxTasks, " tasks at most, not task ", task);
  task_ = task;
  has_picks_ = picks && task > 1;
  adam_step_ = 0;
  drop_training_state();
  std::uint64_t position = 0;
  for (Layer& layer : layers_) {
    BankTensors& s = layer.state;
    s.owners.masked_fill_(s.owners.eq(0), task);
    s.momentum.zero_();
    if (has_picks_) {
      s.scores = at::full_like(s.values, picks_.initial);
      s.score_m = at::zeros_like(s.values);
      s.score_v = at::zeros_like(s.values);
    }
    compose(s.values, s.owners, s.scores, task_, picks_.threshold, s.effective);
    const std::vector<std::int64_t> dead = dead_filters(layer);
    if (!dead.empty()) {
      reinitialize_filters(layer, dead, task, key.for_step(position));
      compose(s.values, s.owners, s.scores, task_, picks_.threshold, s.effective);
    }
    ++position;
  }
}

void WeightBank::claim_all(int task) {
  task_ = task;
  has_picks_ = false;
  for (Layer& layer : layers_) {
    layer.state.owners.fill_(task);
    layer.state.momentum.zero_();
  }
  drop_training_state();
  compose_active(false);
}

void WeightBank::begin_stage(bool average) {
  adam_step_ = 0;
  for (Layer& layer : layers_) {
    BankTensors& s = layer.state;
    s.momentum.zero_();
    if (has_picks_) {
      s.score_m.zero_();
      s.score_v.zero_();
    }
    s.average_values = average ? s.values.clone() : at::Tensor();
    s.average_scores = average && has_picks_ ? s.scores.clone() : at::Tensor();
    layer.candidates = s.owners.eq(0).logical_or_(s.owners.eq(task_)).sum().item<std::int64_t>();
  }
}

void WeightBank::reset_picks() {
  adam_step_ = 0;
  for (Layer& layer : layers_) {
    if (!has_picks_) continue;
    layer.state.scores.fill_(picks_.initial);
    layer.state.score_m.zero_();
    layer.state.score_v.zero_();
  }
  compose_active(false);
}

void WeightBank::update(const std::vector<at::Tensor>& gradients, const UpdateOptions& options) {
  UpdateOptions step = options;
  step.task = task_;
  step.pick_threshold = picks_.threshold;
  if (options.train_picks) ++adam_step_;
  step.adam_step = std::max<std::int64_t>(adam_step_, 1);
  for (std::size_t i = 0; i < layers_.size(); ++i) nn::update(layers_[i].state, gradients[i], step);
}

std::int64_t WeightBank::prune(double ratio) {
  std::int64_t freed = 0;
  for (Layer& layer : layers_) {
    BankTensors& s = layer.state;
    const std::int64_t k = round_half_even(ratio * static_cast<double>(layer.candidates));
    if (k <= 0) continue;
    const double cutoff = kth_magnitude(s.values.to(at::kCPU), s.owners.to(at::kCPU), task_, k);
    freed += free_small(s, task_, cutoff);
  }
  return freed;
}

void WeightBank::compose_active(bool averaged) {
  for (Layer& layer : layers_) {
    const BankTensors& s = layer.state;
    const bool use = averaged && s.average_values.defined();
    // Averages exist only for entries that the task may change; older values are shared.
    const at::Tensor values =
        use ? at::where(s.owners.eq(task_), s.average_values, s.values) : s.values;
    const at::Tensor scores = use && s.average_scores.defined() ? s.average_scores : s.scores;
    compose(values, s.owners, scores, task_, picks_.threshold, s.effective);
  }
}

void WeightBank::adopt_average() {
  for (Layer& layer : layers_) {
    BankTensors& s = layer.state;
    if (s.average_values.defined()) {
      s.values.copy_(at::where(s.owners.eq(task_), s.average_values, s.values));
    }
    if (s.average_scores.defined()) s.scores.copy_(s.average_scores);
  }
  compose_active(false);
}

void WeightBank::commit() {
  drop_training_state();
  task_ = 0;
  has_picks_ = false;
}

void WeightBank::forget_after(int task) {
  for (Layer& layer : layers_) {
    const at::Tensor later = layer.state.owners.gt(task);
    layer.state.owners.masked_fill_(later, 0);
    layer.state.values.masked_fill_(layer.state.owners.eq(0), 0);
  }
}

void WeightBank::continue_from(const WeightBank& other) {
  task_ = other.task_;
  has_picks_ = other.has_picks_;
  adam_step_ = 0;
  drop_training_state();
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    BankTensors& s = layers_[i].state;
    const BankTensors& from = other.layers_.at(i).state;
    const auto keep_corner = [&](const at::Tensor& to, const at::Tensor& old) {
      leading_corner(to, old.sizes()).copy_(leading_corner(old, to.sizes()));
    };
    s.momentum.zero_();
    keep_corner(s.values, from.values);
    keep_corner(s.owners.fill_(task_), from.owners);
    if (!has_picks_) continue;
    s.scores = at::full_like(s.values, picks_.initial);
    keep_corner(s.scores, from.scores);
    s.score_m = at::zeros_like(s.values);
    s.score_v = at::zeros_like(s.values);
  }
  if (task_ > 0) compose_active(false);
}

OwnershipCount WeightBank::count() const {
  OwnershipCount c;
  for (const Layer& layer : layers_) {
    const BankTensors& s = layer.state;
    const at::Tensor older = s.owners.gt(0).logical_and_(s.owners.lt(task_));
    c.own += s.owners.eq(task_).sum().item<std::int64_t>();
    c.older += older.sum().item<std::int64_t>();
    c.picked += s.scores.defined()
                    ? older.logical_and(s.scores.gt(picks_.threshold)).sum().item<std::int64_t>()
                    : older.sum().item<std::int64_t>();
    c.free += s.owners.eq(0).sum().item<std::int64_t>();
    c.total += s.owners.numel();
  }
  return c;
}

std::int64_t WeightBank::weights() const {
  std::int64_t n = 0;
  for (const Layer& layer : layers_) n += layer.state.values.numel();
  return n;
}

std::int64_t WeightBank::free_weights() const {
  std::int64_t n = 0;
  for (const Layer& layer : layers_) n += layer.state.owners.eq(0).sum().item<std::int64_t>();
  return n;
}

bool WeightBank::owners_agree() const {
  if (layers_.empty()) return true;
  const at::Tensor first = layers_.front().state.owners.flatten()[0];
  return std::all_of(layers_.begin(), layers_.end(), [&](const Layer& layer) {
    return layer.state.owners.eq(first).all().item<bool>();
  });
}

void WeightBank::drop_training_state() {
  for (Layer& layer : layers_) {
    BankTensors& s = layer.state;
    s.scores = s.score_m = s.score_v = s.average_values = s.average_scores = at::Tensor();
  }
}

}  // namespace cmat::nn
