#include "cmat/nn/frozen/plan.h"

#include <algorithm>
#include <utility>

namespace cmat::nn::frozen {
namespace {

class Planner {
 public:
  explicit Planner(const Description& description)
      : description_(description),
        shapes_(infer_shapes(description)),
        readers_(shapes_.size()),
        made_(shapes_.size(), false),
        folded_(description.layers.size(), false) {
    for (std::size_t i = 0; i < description.layers.size(); ++i) {
      for (int value : description.layers[i].inputs) {
        readers_[static_cast<std::size_t>(value)].push_back(static_cast<int>(i));
      }
    }
    plan_.values.resize(shapes_.size());
    for (std::size_t v = 0; v < shapes_.size(); ++v) {
      place_.push_back(static_cast<int>(v));
      const ValueShape& s = shapes_[v];
      plan_.values[v].side = {s.channels, s.height, s.width, padded(s.channels)};
    }
  }

  Plan run() {
    read_image();
    for (int i = 0; i < static_cast<int>(description_.layers.size()); ++i) {
      if (!folded_[static_cast<std::size_t>(i)]) take(i);
    }
    plan_.logits = place_of(static_cast<int>(shapes_.size()) - 1);
    plan_.features = place_of(description_.layers.back().inputs[0]);
    return std::move(plan_);
  }

 private:
  const Layer& layer(int i) const { return description_.layers[static_cast<std::size_t>(i)]; }
  Value& value(int v) { return plan_.values[static_cast<std::size_t>(v)]; }
  int place_of(int v) const { return place_[static_cast<std::size_t>(v)]; }
  const std::vector<int>& readers(int v) const { return readers_[static_cast<std::size_t>(v)]; }
  void fold(int i) { folded_[static_cast<std::size_t>(i)] = true; }

  void read_image();
  void take(int i);
  void alias(int v, int other);
  void emit(Step step);
  bool fold_next(Step& step);
  bool is_made(int v) const { return made_[static_cast<std::size_t>(place_of(v))]; }

  const Description& description_;
  std::vector<ValueShape> shapes_;
  std::vector<std::vector<int>> readers_;  ///< layers, of each value
  std::vector<bool> made_;                 ///< values that the steps so far make
  std::vector<bool> folded_;               ///< layers that a step before them did
  std::vector<int> place_;                 ///< of each value the one whose memory it uses
  Plan plan_;
};

/// The normalisation is done while the image is read, so that what a convolution sees beyond the
/// border is the 0 of a normalised image.
void Planner::read_image() {
  Step step{.kind = Step::Kind::image};
  const std::vector<int>& first = readers(0);
  if (first.size() == 1 && layer(first[0]).kind == LayerKind::normalize) {
    step.normalizes = true;
    step.layer = layer(first[0]);
    step.to = first[0] + 1;
    fold(first[0]);
  }
  // A few channels need no room for a whole panel where only a convolution reads them.
  const std::vector<int>& next = readers(step.to);
  Side& side = value(step.to).side;
  if (side.channels < kPanel && next.size() == 1 && layer(next[0]).kind == LayerKind::conv) {
    side.stride = side.channels;
  }
  emit(step);
}

void Planner::take(int i) {
  const Layer& l = layer(i);
  Step step{.from = l.inputs[0], .to = i + 1, .layer = l};
  switch (l.kind) {
    case LayerKind::conv:
    case LayerKind::linear:
      step.kind = Step::Kind::product;
      break;
    case LayerKind::normalize:
      step.normalizes = true;
      break;
    case LayerKind::batch_norm:
      step.norm = l.name;
      break;
    case LayerKind::relu:
      step.relu = true;
      break;
    case LayerKind::add:
      step.add = l.inputs[1];
      break;
    case LayerKind::max_pool:
      step.kind = Step::Kind::max_pool;
      break;
    case LayerKind::global_avg_pool:
    case LayerKind::adaptive_avg_pool:
      step.kind = Step::Kind::average_pool;
      break;
    case LayerKind::flatten:
      if (value(place_of(step.from)).side.pixels() == 1) return alias(step.to, step.from);
      step.kind = Step::Kind::flatten;
      break;
    case LayerKind::dropout:
      return alias(step.to, step.from);
  }
  if (step.kind == Step::Kind::product || step.kind == Step::Kind::finish) {
    while (!step.relu && fold_next(step)) {
    }
  }
  emit(step);
}

/// Folds the layer that alone reads the step's value into the step, if it can.
bool Planner::fold_next(Step& step) {
  if (readers(step.to).size() != 1) return false;
  const int i = readers(step.to)[0];
  const Layer& next = layer(i);
  if (next.kind == LayerKind::batch_norm && step.kind == Step::Kind::product && step.norm.empty() &&
      step.add < 0) {
    step.norm = next.name;
  } else if (next.kind == LayerKind::add && step.add < 0) {
    const int other = next.inputs[next.inputs[0] == step.to ? 1 : 0];
    if (other == step.to || !is_made(other)) return false;  // the other operand folds this one in
    step.add = other;
  } else if (next.kind == LayerKind::relu) {
    step.relu = true;
  } else {
    return false;
  }
  step.to = i + 1;
  fold(i);
  return true;
}

void Planner::alias(int v, int other) { place_[static_cast<std::size_t>(v)] = place_of(other); }

void Planner::emit(Step step) {
  if (step.from >= 0) step.from = place_of(step.from);
  if (step.add >= 0) step.add = place_of(step.add);
  value(step.to).relu = step.relu;
  made_[static_cast<std::size_t>(step.to)] = true;
  plan_.steps.push_back(std::move(step));
}

}  // namespace

Plan make_plan(const Description& description) {
  Plan plan = Planner(description).run();
  plan_values(plan);
  plan_back(plan);
  return plan;
}

}  // namespace cmat::nn::frozen
