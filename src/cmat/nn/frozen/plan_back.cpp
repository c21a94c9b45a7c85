// The way back: which gradient is computed from which, where sums are folded into the work that
// makes their last part, and which memory each gradient uses.
#include "cmat/nn/frozen/plan.h"
#include "cmat/nn/frozen/slots.h"

namespace cmat::nn::frozen {
namespace {

class BackPlanner {
 public:
  explicit BackPlanner(Plan& plan)
      : plan_(plan), pool_(plan.slots), gradients_(plan.values.size()) {}

  void run() {
    count_parts();
    Gradient& logits = gradient(plan_.logits);
    logits.slot = plan_.logits_gradient = take_slot(plan_.logits);
    for (int s = static_cast<int>(plan_.steps.size()) - 1; s >= 0; --s) go_back(s);
  }

 private:
  struct Gradient {
    int parts = 0;     ///< still to come
    int slot = -1;     ///< of the sum so far
    bool own = false;  ///< the slot is this value's alone; else another value's, and only lent
  };

  Gradient& gradient(int value) { return gradients_[static_cast<std::size_t>(value)]; }
  /// A norm's or a normalisation's scale makes a gradient of its own; else a `finish` passes its
  /// output's gradient on.
  static bool passes_on(const Step& step) {
    return step.kind == Step::Kind::finish && step.norm.empty() && !step.normalizes;
  }

  void count_parts();
  void go_back(int s);
  void add_gradient(int value, int slot);
  void write(int value, BackStep part);
  int take_slot(int value) {
    return pool_.take(plan_.values[static_cast<std::size_t>(value)].side.floats());
  }

  Plan& plan_;
  SlotPool pool_;
  std::vector<Gradient> gradients_;
};

/// Only what the logits depend on has a gradient.
void BackPlanner::count_parts() {
  std::vector<bool> needed(plan_.values.size(), false);
  needed[static_cast<std::size_t>(plan_.logits)] = true;
  for (auto step = plan_.steps.rbegin(); step != plan_.steps.rend(); ++step) {
    if (!needed[static_cast<std::size_t>(step->to)]) continue;
    for (int value : {step->from, step->add}) {
      if (value < 0) continue;
      needed[static_cast<std::size_t>(value)] = true;
      ++gradient(value).parts;
    }
  }
}

void BackPlanner::go_back(int s) {
  const Step& step = plan_.steps[static_cast<std::size_t>(s)];
  const int slot = gradient(step.to).slot;
  if (slot < 0) return;  // the logits do not depend on it
  if (step.kind == Step::Kind::image) {
    plan_.back.push_back(
        {.kind = BackStep::Kind::image, .step = s, .gradient = slot, .value = step.to});
    return;
  }
  if (step.add >= 0) add_gradient(step.add, slot);
  if (passes_on(step)) {
    add_gradient(step.from, slot);
  } else {
    write(step.from, {.kind = BackStep::Kind::work, .step = s, .gradient = slot});
  }
  pool_.leave(slot);
}

/// Another value's whole gradient is a part of this one's.
void BackPlanner::add_gradient(int value, int slot) {
  Gradient& g = gradient(value);
  const bool last = g.parts == 1, relu = plan_.values[static_cast<std::size_t>(value)].relu;
  if (g.slot < 0 && !(last && relu)) {  // no work: lent until there is something to add
    --g.parts;
    g.slot = slot;
    pool_.share(slot);
    return;
  }
  write(value, {.kind = BackStep::Kind::sum, .gradient = slot});
}

/// Work that makes a part of the value's gradient also adds the parts before it, and the last one
/// applies the ReLU.
void BackPlanner::write(int value, BackStep part) {
  Gradient& g = gradient(value);
  const bool last = --g.parts == 0;
  part.value = value;
  part.add = g.slot;
  Value& of = plan_.values[static_cast<std::size_t>(value)];
  if (last && of.relu) {
    part.mask = value;
    of.mask = true;
  }
  if (!g.own) {
    const int lent = g.slot;
    g.slot = take_slot(value);
    g.own = true;
    if (lent >= 0) pool_.leave(lent);
  }
  part.to = g.slot;
  plan_.back.push_back(part);
}

}  // namespace

void plan_back(Plan& plan) { BackPlanner(plan).run(); }

}  // namespace cmat::nn::frozen
