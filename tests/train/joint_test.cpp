// Networks whose shared weights have one owner: a fixed backbone with masks (Piggyback), and one
// that learned several tasks at once (joint training).
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "cmat/core/error.h"
#include "cmat/train/task_heads.h"
#include "tiny_model.h"

namespace cmat::train {
namespace {

Model single_owner(bool picks, bool fixed_start = false) {
  ModelOptions options;
  options.picks = picks;
  options.single_owner = true;
  options.fixed_start = fixed_start;
  return Model(test::tiny_description(), options);
}

void train_whole(Model& model, std::int64_t classes, std::uint64_t seed) {
  model.begin_task(classes);
  test::train_stage(model, seed, /*ratio=*/0);
  model.adopt_averages();
  model.commit();
}

std::string stored_bank(const Model& model) {
  TensorFile all, bank;
  model.save(all, "m/", /*training=*/false);
  for (const auto& [name, tensor] : all.tensors) {
    if (name.starts_with("m/bank")) bank.tensors[name] = tensor;
  }
  return serialize_tensor_file(bank);
}

TEST(SingleOwner, TheBackboneNeverMovesAndMasksDiffer) {
  Model model = single_owner(/*picks=*/true);
  train_whole(model, 3, 1);
  const std::string backbone = stored_bank(model);
  const nn::TaskPart first = model.parts().front();
  std::vector<at::Tensor> outputs;
  std::vector<std::string> digests;
  for (std::uint64_t task = 2; task <= 4; ++task) {
    model.begin_task(2);
    EXPECT_EQ(model.bank().count().own, 0);
    EXPECT_EQ(model.bank().count().picked, model.bank().weights());
    const nn::TaskPart part = nn::capture_part(model.network(), model.shared_names());
    for (const auto& [name, tensor] : first.tensors) {
      // From the backbone, not from the task before: so the order of tasks does not matter.
      EXPECT_EQ(part.tensors.at(name).equal(tensor), !name.starts_with("fc.")) << name;
    }
    test::train_stage(model, task, 0);
    model.bank().layers().front().state.scores[0][0][0][static_cast<std::int64_t>(task) - 2].fill_(0);
    model.commit();
    EXPECT_EQ(stored_bank(model), backbone);
    EXPECT_EQ(model.owner_bytes(), 0);
    // One bit for each weight of the backbone.
    std::int64_t bytes = 0;
    for (const auto& layer : model.bank().layers()) bytes += (layer.state.values.numel() + 7) / 8;
    EXPECT_EQ(model.parts().back().pick_bytes(), bytes);
    model.activate(static_cast<std::int64_t>(task));
    outputs.push_back(test::logits(model));
    digests.push_back(model.weight_digest());
    for (std::size_t old = 0; old < outputs.size(); ++old) {
      model.activate(static_cast<std::int64_t>(old) + 2);
      EXPECT_TRUE(test::logits(model).equal(outputs[old]));
      EXPECT_EQ(model.weight_digest(), digests[old]);
    }
  }
  EXPECT_NE(model.parts()[1].picks.begin()->second.bytes,
            model.parts()[2].picks.begin()->second.bytes);
}

TEST(SingleOwner, AGivenBackboneIsFixedFromTheFirstTaskOn) {
  Model model = single_owner(true, /*fixed_start=*/true);
  model.begin_task(2);
  EXPECT_TRUE(model.body_is_fixed());
  model.commit();
  model.begin_task(2);
  EXPECT_FALSE(model.body_is_fixed());  // its picks move
  Model other = single_owner(true);
  other.begin_task(2);
  EXPECT_FALSE(other.body_is_fixed());
}

TEST(CommitTogether, EachTaskHasItsRowsOfTheHead) {
  Model model = single_owner(/*picks=*/false);
  model.begin_task(7);
  test::train_stage(model, 1, 0);
  model.adopt_averages();
  const at::Tensor whole = test::logits(model);
  model.commit_together({2, 3, 2});
  ASSERT_EQ(model.committed(), 3);
  Model read = single_owner(false);
  test::load(read, test::saved(model, false));
  for (Model* m : {&model, &read}) {
    std::int64_t column = 0;
    for (const std::int64_t task : {3, 1, 2}) {
      const std::int64_t count = task == 2 ? 3 : 2;
      column = task == 1 ? 0 : task == 2 ? 2 : 5;
      m->activate(task);
      const at::Tensor own = test::logits(*m);
      EXPECT_EQ(own.size(1), count);
      EXPECT_TRUE(at::allclose(own, whole.narrow(1, column, count), 1e-5, 1e-6)) << task;
    }
  }
  EXPECT_EQ(model.owner_bytes(), 0);
}

class TaskHeadsTest : public ::testing::Test {
 protected:
  TaskHeadsTest() : model_(single_owner(false)), images_(test::random_images(7, at::kFloat, 3)) {
    model_.begin_task(7);
    model_.network().set_training(false);
  }

  Model model_;
  test::Images images_;  ///< labels 0..6, then 0..4 again
  const std::vector<std::int64_t> classes_ = {2, 3, 2}, first_ = {0, 2, 5};
  static std::size_t task_of(std::int64_t label) { return label < 2 ? 0 : label < 5 ? 1 : 2; }
};

TEST_F(TaskHeadsTest, TheLossIsThatOfEachTasksOwnClasses) {
  TaskHeads heads(model_.network(), classes_);
  const at::Tensor labels = heads.choose(images_.y);
  const at::Tensor logits = heads.forward(images_.x);
  ASSERT_EQ(logits.sizes(), (std::vector<std::int64_t>{12, 3}));
  const at::Tensor whole = model_.network().forward(images_.x);
  double sum = 0;
  for (std::int64_t i = 0; i < 12; ++i) {
    const std::int64_t label = images_.y[i].item<std::int64_t>();
    const std::size_t task = task_of(label);
    EXPECT_EQ(labels[i].item<std::int64_t>(), label - first_[task]);
    const at::Tensor own = whole[i].narrow(0, first_[task], classes_[task]);
    EXPECT_TRUE(logits[i].narrow(0, 0, classes_[task]).equal(own));
    sum += own.logsumexp(0).sub(whole[i][label]).item<double>();
  }
  const at::Tensor loss = at::cross_entropy_loss(logits, labels);
  EXPECT_NEAR(loss.item<double>(), sum / 12, 1e-6);
  // No gradient reaches the classes of other tasks, and none is lost on padding.
  const at::Tensor head = model_.network().parameters().back().tensor;
  const at::Tensor one = at::cross_entropy_loss(logits.narrow(0, 0, 1), labels.narrow(0, 0, 1));
  const at::Tensor g = torch::autograd::grad({one}, {head}).front();
  EXPECT_TRUE(g.narrow(0, 0, 2).ne(0).all().item<bool>());
  EXPECT_FALSE(g.narrow(0, 2, 5).any().item<bool>());
}

TEST_F(TaskHeadsTest, ATaskMayBeChosenForAnyNumberOfImages) {
  TaskHeads heads(model_.network(), classes_);
  heads.choose_task(2);
  for (const std::int64_t n : {1, 5, 12}) {
    const at::Tensor x = images_.x.narrow(0, 0, n);
    EXPECT_TRUE(heads.forward(x).narrow(1, 0, 2).equal(
        model_.network().forward(x).narrow(1, 5, 2)));
  }
  heads.choose(images_.y);
  EXPECT_THROW(heads.forward(images_.x.narrow(0, 0, 5)), Error);
}

}  // namespace
}  // namespace cmat::train
