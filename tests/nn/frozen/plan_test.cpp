// What a plan folds, and that gradients that live at the same time never share memory.
#include "cmat/nn/frozen/plan.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "nn/frozen/random_description.h"

namespace cmat::test {
namespace {

using namespace nn::frozen;

Plan plan_of(const std::string& architecture) {
  nn::NetworkOptions options;
  options.architecture = architecture;
  return make_plan(nn::describe(options));
}

std::map<Step::Kind, int> count(const Plan& plan) {
  std::map<Step::Kind, int> counts;
  for (const Step& step : plan.steps) ++counts[step.kind];
  return counts;
}

TEST(Plan, FoldsNormsReluAndAdditionsIntoProducts) {
  const Plan plan = plan_of("resnet8");
  const auto counts = count(plan);
  EXPECT_EQ(counts.at(Step::Kind::product), 7 + 2 + 1);  // convolutions, projections, head
  EXPECT_EQ(counts.at(Step::Kind::image), 1);
  EXPECT_EQ(counts.at(Step::Kind::average_pool), 1);
  EXPECT_EQ(plan.steps.size(), 12u);
  int additions = 0, relus = 0;
  for (const Step& step : plan.steps) {
    additions += step.add >= 0;
    relus += step.relu;
  }
  EXPECT_EQ(additions, 3);
  EXPECT_EQ(relus, 7);
  // The image: normalised while it is read, and without room for channels that it does not have.
  EXPECT_TRUE(plan.steps.front().normalizes);
  EXPECT_EQ(plan.values[static_cast<std::size_t>(plan.steps.front().to)].side.stride, 3);
}

TEST(Plan, LeavesNothingBetweenTheProductsOfVgg) {
  const auto counts = count(plan_of("vgg16_bn"));
  EXPECT_EQ(counts.at(Step::Kind::product), 13 + 3);
  EXPECT_EQ(counts.at(Step::Kind::max_pool), 5);
  EXPECT_EQ(counts.size(), 3u);  // and the image: flattening one pixel is no work
}

TEST(Plan, NeedsFewSlots) {
  EXPECT_LE(plan_of("vgg16_bn").slots.size(), 2u);
  EXPECT_LE(plan_of("resnet18").slots.size(), 4u);
}

/// Every step must find what it reads where it was made.
TEST(Plan, ValuesThatAreStillReadShareNoSlot) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const Plan plan = make_plan(RandomDescription(seed).make());
    EXPECT_LT(plan.rooms[static_cast<std::size_t>(plan.logits)], 0);
    EXPECT_LT(plan.rooms[static_cast<std::size_t>(plan.features)], 0);
    std::vector<int> held(plan.slots.size(), -1);  // the value that lies in each slot
    const auto room = [&](int value) { return plan.rooms[static_cast<std::size_t>(value)]; };
    for (const Step& step : plan.steps) {
      for (int value : {step.from, step.add}) {
        if (value < 0 || room(value) < 0) continue;
        ASSERT_EQ(held[static_cast<std::size_t>(room(value))], value) << "seed " << seed;
      }
      if (room(step.to) < 0) {
        EXPECT_TRUE(step.to == plan.logits || step.to == plan.features) << "seed " << seed;
        continue;
      }
      if (step.from >= 0) {
        ASSERT_NE(room(step.to), room(step.from)) << "seed " << seed;
      }
      held[static_cast<std::size_t>(room(step.to))] = step.to;
      EXPECT_GE(plan.slots[static_cast<std::size_t>(room(step.to))],
                plan.values[static_cast<std::size_t>(step.to)].side.floats());
    }
    for (const BackStep& move : plan.back) {
      EXPECT_TRUE(move.mask < 0 || plan.values[static_cast<std::size_t>(move.mask)].mask);
    }
  }
}

/// Runs the moves with sets of contributions in place of numbers: what reaches the image must be
/// every path from the logits, once.
TEST(Plan, EveryPathReachesTheImageOnce) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const Plan plan = make_plan(RandomDescription(seed).make());
    // Paths from the logits to each value, by the steps alone.
    std::vector<double> paths(plan.values.size(), 0);
    paths[static_cast<std::size_t>(plan.logits)] = 1;
    for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
      for (int from : {step->from, step->add}) {
        if (from >= 0) {
          paths[static_cast<std::size_t>(from)] += paths[static_cast<std::size_t>(step->to)];
        }
      }
    }
    std::vector<double> slots(plan.slots.size(), -1e9);
    slots[static_cast<std::size_t>(plan.logits_gradient)] = 1;
    double reached = 0;
    std::set<int> masked;
    for (const BackStep& move : plan.back) {
      double sum = slots[static_cast<std::size_t>(move.gradient)];
      if (move.kind == BackStep::Kind::image) {
        reached = sum;
        continue;
      }
      if (move.add >= 0) sum += slots[static_cast<std::size_t>(move.add)];
      ASSERT_NE(move.to, move.gradient) << "seed " << seed;
      slots[static_cast<std::size_t>(move.to)] = sum;
      EXPECT_GE(plan.slots[static_cast<std::size_t>(move.to)],
                plan.values[static_cast<std::size_t>(move.value)].side.floats());
      if (move.mask >= 0) {
        EXPECT_EQ(move.mask, move.value);
        EXPECT_TRUE(masked.insert(move.mask).second) << "a ReLU twice, seed " << seed;
      }
    }
    EXPECT_EQ(reached, paths[static_cast<std::size_t>(plan.steps.front().to)]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace cmat::test
