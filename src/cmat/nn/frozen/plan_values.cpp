// Where values are made: in slots that they use one after the other, so that those of a few images
// stay in the caches.
#include "cmat/nn/frozen/plan.h"
#include "cmat/nn/frozen/slots.h"

namespace cmat::nn::frozen {

void plan_values(Plan& plan) {
  const auto index = [](int i) { return static_cast<std::size_t>(i); };
  std::vector<std::size_t> last_reader(plan.values.size(), 0);
  for (std::size_t s = 0; s < plan.steps.size(); ++s) {
    for (int value : {plan.steps[s].from, plan.steps[s].add}) {
      if (value >= 0) last_reader[index(value)] = s;
    }
  }
  plan.rooms.assign(plan.values.size(), -1);
  SlotPool pool(plan.slots);
  for (std::size_t s = 0; s < plan.steps.size(); ++s) {
    const Step& step = plan.steps[s];
    const auto leave = [&](int value) {
      if (value < 0 || last_reader[index(value)] > s) return;
      if (const int slot = plan.rooms[index(value)]; slot >= 0) pool.leave(slot);
    };
    // What is added may lie where the sum goes.
    const bool adds = step.add >= 0 && step.add != step.from;
    if (adds) leave(step.add);
    if (step.to != plan.logits && step.to != plan.features) {
      plan.rooms[index(step.to)] = pool.take(plan.values[index(step.to)].side.floats());
    }
    leave(step.from);
    leave(step.to);  // that nothing reads
  }
}

}  // namespace cmat::nn::frozen
