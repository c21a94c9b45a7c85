// A model that grows while it learns: what stays, what is new, and how it is kept.
#include <gtest/gtest.h>

#include "cmat/train/model.h"
#include "core/expect_error.h"
#include "tiny_model.h"

namespace cmat::train {
namespace {

using namespace test;

struct GrowthCase {
  std::string name;
  bool picks;
  at::ScalarType dtype;
  std::int64_t private_below = 0;
};

class Growing : public testing::TestWithParam<GrowthCase> {
 protected:
  Model make() const {
    ModelOptions options;
    options.picks = GetParam().picks;
    options.dtype = GetParam().dtype;
    options.private_below = GetParam().private_below;
    return Model(tiny_description(), options);
  }
  double tolerance() const { return GetParam().dtype == at::kDouble ? 1e-12 : 1e-5; }
};

/// What a committed task computes, to be compared to the bit.
struct Shown {
  std::string digest;
  at::Tensor logits;
};

Shown show(Model& model, std::int64_t task) {
  model.activate(task);
  return {model.weight_digest(), logits(model)};
}

void expect_same(Model& model, const std::vector<Shown>& tasks) {
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    const Shown now = show(model, static_cast<std::int64_t>(t) + 1);
    EXPECT_EQ(now.digest, tasks[t].digest) << "task " << t + 1;
    EXPECT_TRUE(now.logits.equal(tasks[t].logits)) << "task " << t + 1;
  }
}

/// A task that grows in its middle.
void learn_growing(Model& model, std::int64_t classes, std::uint64_t seed, double width) {
  model.begin_task(classes);
  train_stage(model, seed, 0.3);
  model.adopt_averages();
  model.grow(width);
  train_stage(model, seed + 50, 0.5);
  model.adopt_averages();
  model.commit();
}

TEST_P(Growing, OldTasksStayAsTheyAre) {
  Model model = make();
  std::vector<Shown> tasks;
  learn(model, 2, 1);
  tasks.push_back(show(model, 1));
  learn(model, 5, 2);
  tasks.push_back(show(model, 2));
  for (double width : {1.5, 3.0}) {
    learn_growing(model, 3, static_cast<std::uint64_t>(10 * width), width);
    tasks.push_back(show(model, model.committed()));
    EXPECT_EQ(model.width(), width);
    expect_same(model, tasks);
  }
  learn(model, 2, 9);  // and one that begins where growth ended
  tasks.push_back(show(model, model.committed()));
  expect_same(model, tasks);
  EXPECT_EQ(model.parts()[0].width, 1);
  EXPECT_EQ(model.parts()[2].width, 1.5);
  EXPECT_EQ(model.parts()[4].width, 3);
  model.activate(1);
  EXPECT_EQ(model.description().width, 1);
  model.activate(5);
  EXPECT_EQ(model.description().width, 3);
}

TEST_P(Growing, TheActiveTaskGoesOnComputingWhatItComputed) {
  Model model = make();
  learn(model, 2, 1);
  model.begin_task(5);
  train_stage(model, 2, 0.4);
  model.adopt_averages();
  const at::Tensor before = logits(model);
  const nn::OwnershipCount narrow = model.bank().count();
  model.grow(2);
  EXPECT_TRUE(logits(model).allclose(before, tolerance(), tolerance()));
  const nn::OwnershipCount wide = model.bank().count();
  EXPECT_EQ(wide.total, model.shared_weights(2));
  EXPECT_EQ(wide.own, narrow.own + wide.total - narrow.total);  // what is new is the task's
  EXPECT_EQ(wide.older, narrow.older);
  EXPECT_EQ(wide.picked, narrow.picked);
  EXPECT_EQ(wide.free, narrow.free);
  EXPECT_EQ(
      model.part_optimizer().parameters().front().tensor.data_ptr(),
      nn::private_parameters(model.network(), model.shared_names()).front().tensor.data_ptr());
}

TEST_P(Growing, BeforeATaskEverythingNewIsItsOwn) {
  Model model = make();
  learn(model, 2, 1);
  const std::int64_t free = model.bank().free_weights();
  const std::int64_t before = model.shared_weights(1);
  model.begin_task(3, 1.5);
  EXPECT_EQ(model.width(), 1.5);
  EXPECT_EQ(model.bank().count().own, free + model.shared_weights(1.5) - before);
  EXPECT_EQ(model.bank().count().free, 0);
}

TEST_P(Growing, ARefusedGrowthLeavesNoTrace) {
  Model model = make();
  learn(model, 2, 1);
  model.begin_task(5);
  train_stage(model, 2, 0.3);
  const TensorFile snapshot = model.snapshot();
  const std::string digest = model.weight_digest();
  model.restore(snapshot);
  train_stage(model, 4, 0.5);
  const std::string once = saved(model, true);
  model.grow(2);
  train_stage(model, 3, 0.4);
  model.restore(snapshot);
  EXPECT_EQ(model.width(), 1);
  EXPECT_EQ(model.weight_digest(), digest);
  train_stage(model, 4, 0.5);
  EXPECT_EQ(saved(model, true), once);
}

TEST_P(Growing, SavesAndLoadsAtEveryWidth) {
  Model model = make();
  learn(model, 2, 1);
  const std::string narrow = saved(model, false);
  learn_growing(model, 5, 2, 1.5);
  model.begin_task(3);
  train_stage(model, 5, 0.3);
  model.grow(2);
  model.begin_stage(true);
  train_step(model, 6);
  const std::string wide = saved(model, true);
  Model other = make();
  load(other, wide);
  EXPECT_EQ(saved(other, true), wide);
  EXPECT_EQ(other.weight_digest(), model.weight_digest());
  for (Model* m : {&model, &other}) {
    train_step(*m, 7);
    m->adopt_averages();
    m->commit();
  }
  EXPECT_EQ(saved(other, false), saved(model, false));
  load(other, narrow);  // back to where growth had not begun
  EXPECT_EQ(other.width(), 1);
  EXPECT_EQ(saved(other, false), narrow);
}

TEST_P(Growing, RewindingShrinksAndTheSameGrowthFollows) {
  Model model = make();
  learn(model, 2, 1);
  learn(model, 3, 2);
  const std::string before = saved(model, false);
  learn_growing(model, 5, 3, 2);
  const std::string after = saved(model, false);
  learn_growing(model, 2, 4, 3);
  model.rewind(3);
  EXPECT_EQ(saved(model, false), after);
  model.rewind(2);
  EXPECT_EQ(model.width(), 1);
  EXPECT_EQ(saved(model, false), before);
  learn_growing(model, 5, 3, 2);
  EXPECT_EQ(saved(model, false), after);
}

/// A tensor that grows beyond private_below stays each task's own, or old tasks would lack it.
TEST_P(Growing, SharedTensorsStayTheSameOnes) {
  Model model = make();
  learn(model, 2, 1);
  const nn::Names names = model.shared_names();
  learn_growing(model, 2, 2, 4);
  EXPECT_EQ(model.shared_names(), names);
  EXPECT_EQ(model.bank().layers().size(), names.size());
}

INSTANTIATE_TEST_SUITE_P(Model, Growing,
                         testing::Values(GrowthCase{"cmat", true, at::kFloat},
                                         GrowthCase{"cmat_double", true, at::kDouble},
                                         GrowthCase{"cmat_private", true, at::kFloat, 300},
                                         GrowthCase{"packnet", false, at::kFloat}),
                         [](const auto& item) { return item.param.name; });

TEST(Growth, IsForOwnedWeightsAndUpwardsOnly) {
  for (Sharing sharing : {Sharing::separate, Sharing::overwritten, Sharing::owned}) {
    ModelOptions options;
    options.sharing = sharing;
    Model model(tiny_description(), options);
    learn(model, 2, 1);
    model.begin_task(2);
    expect_failure({"grow"}, [&] { model.grow(sharing == Sharing::owned ? 1.0 : 2.0); });
  }
}

TEST(Growth, DamagedWidthsAreRefused) {
  Model model(tiny_description(), {});
  learn(model, 2, 1);
  learn_growing(model, 2, 2, 2);
  TensorFile file;
  model.save(file, "", false);
  for (const auto& [name, width] : {std::pair<std::string, double>{"task2/width", 3.0},
                                    {"task1/width", 0.5},
                                    {"width", 1.0},
                                    {"width", NAN},
                                    {"width", 1e9}}) {
    TensorFile damaged = file;
    damaged.tensors[name] = nn::to_bytes(at::scalar_tensor(width, at::kDouble));
    Model other(tiny_description(), {});
    EXPECT_THROW(other.load(damaged, ""), Error) << name << " " << width;
  }
}

}  // namespace
}  // namespace cmat::train
