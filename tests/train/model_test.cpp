// The model with its tasks, for each way of sharing weights.
#include "cmat/train/model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/expect_error.h"
#include "tiny_model.h"

namespace cmat::train {
namespace {

using namespace test;

struct Case {
  std::string name;
  Sharing sharing;
  bool picks;
  at::ScalarType dtype;
  std::int64_t private_below = 0;
};

class EachSharing : public testing::TestWithParam<Case> {
 protected:
  Model make(std::uint64_t seed = 1) const {
    ModelOptions options;
    options.sharing = GetParam().sharing;
    options.picks = GetParam().picks;
    options.dtype = GetParam().dtype;
    options.private_below = GetParam().private_below;
    options.seed = seed;
    return Model(tiny_description(), options);
  }
  bool overwritten() const { return GetParam().sharing == Sharing::overwritten; }
};

const std::vector<std::int64_t> kClasses = {2, 5, 3};

TEST_P(EachSharing, CommittedTasksNeverChange) {
  Model model = make();
  std::vector<std::string> digests;
  std::vector<at::Tensor> outputs;
  for (std::size_t i = 0; i < kClasses.size(); ++i) {
    learn(model, kClasses[i], i + 1);
    model.activate(static_cast<std::int64_t>(i) + 1);
    digests.push_back(model.weight_digest());
    outputs.push_back(logits(model));
    EXPECT_EQ(outputs.back().size(1), kClasses[i]);
    // Before activate() the network held the very same: committing changes no weight.
    for (std::size_t old = 0; old <= i; ++old) {
      if (overwritten() && old < i) continue;
      model.activate(static_cast<std::int64_t>(old) + 1);
      EXPECT_EQ(model.weight_digest(), digests[old]) << "task " << old + 1 << " after " << i + 1;
      EXPECT_TRUE(logits(model).equal(outputs[old]));
    }
  }
}

TEST_P(EachSharing, CommittingChangesNoWeight) {
  Model model = make();
  learn(model, 2, 1);
  model.begin_task(5);
  train_stage(model, 2, 0.4);
  model.adopt_averages();
  const std::string before = model.weight_digest();
  model.commit();
  EXPECT_EQ(model.weight_digest(), before);
  model.activate(2);
  EXPECT_EQ(model.weight_digest(), before);
}

TEST_P(EachSharing, InitialWeightsAreTheFirstTasks) {
  TensorFile weights;
  Model other = make(9);
  other.begin_task(5);
  for (const auto& p : other.network().parameters())
    weights.tensors[p.name] = nn::to_bytes(p.tensor);
  for (const auto& b : other.network().buffers()) {
    if (!b.name.starts_with("normalize")) weights.tensors[b.name] = nn::to_bytes(b.tensor.add(1));
  }
  const auto is_files = [&](Model& model, const std::string& name) {
    for (auto tensors : {model.network().parameters(), model.network().buffers()}) {
      for (const auto& t : tensors) {
        if (t.name == name) return nn::to_bytes(t.tensor).bytes == weights.tensors.at(name).bytes;
      }
    }
    return false;
  };
  Model first = make();
  first.set_initial_weights(weights);
  // A run that is resumed before its first task has them from its checkpoint.
  Model model = make();
  load(model, saved(first, true));
  EXPECT_FALSE(model.begin_task(5));  // norm statistics are the file's
  for (const char* name : {"conv1.weight", "conv2.bias", "bn1.running_var", "fc.weight"}) {
    EXPECT_TRUE(is_files(model, name)) << name;
  }
  train_stage(model, 1, 0.5);
  const bool separate = GetParam().sharing == Sharing::separate;
  EXPECT_EQ(saved(model, true).find("m/initial/") != std::string::npos, separate);
  EXPECT_EQ(saved(model, false).find("m/initial/"), std::string::npos);
  model.commit();
  model.begin_task(2);
  EXPECT_EQ(is_files(model, "conv1.weight"), separate);
  EXPECT_FALSE(is_files(model, "fc.weight"));  // for other classes
}

TEST_P(EachSharing, WhereATaskStarts) {
  Model model = make();
  EXPECT_TRUE(model.begin_task(2));
  train_stage(model, 1, 0.5);
  model.commit();
  const nn::TaskPart first = model.parts().front();
  EXPECT_EQ(model.begin_task(5), GetParam().sharing == Sharing::separate);
  const nn::TaskPart second = nn::capture_part(model.network(), model.shared_names());
  EXPECT_EQ(second.classes, 5);
  for (const auto& [name, tensor] : first.tensors) {
    if (name.starts_with("fc.")) continue;
    const bool kept = GetParam().sharing != Sharing::separate || name.starts_with("normalize");
    EXPECT_EQ(second.tensors.at(name).equal(tensor), kept) << name;
  }
  EXPECT_FALSE(second.tensors.at("fc.bias").any().item<bool>());
  EXPECT_TRUE(second.tensors.at("fc.weight").any().item<bool>());
}

TEST_P(EachSharing, GradientsComeInTheOrderOfThoseWhoTakeThem) {
  Model model = make();
  model.begin_task(2);
  std::vector<at::Tensor> gradients;
  for (const nn::NamedTensor& p : model.network().parameters()) gradients.push_back(p.tensor);
  const nn::SplitGradients split =
      nn::split_gradients(model.network(), model.shared_names(), gradients);
  ASSERT_EQ(split.shared.size(), model.bank().layers().size());
  for (std::size_t i = 0; i < split.shared.size(); ++i) {
    EXPECT_EQ(split.shared[i].data_ptr(), model.bank().layers()[i].state.effective.data_ptr());
  }
  ASSERT_EQ(split.own.size(), model.part_optimizer().parameters().size());
  for (std::size_t i = 0; i < split.own.size(); ++i) {
    EXPECT_EQ(split.own[i].data_ptr(), model.part_optimizer().parameters()[i].tensor.data_ptr());
  }
  gradients.pop_back();
  expect_failure({"parameters", "gradients"},
                 [&] { nn::split_gradients(model.network(), model.shared_names(), gradients); });
}

/// Whoever trains the head must hold the head that computes, also after it was replaced.
TEST_P(EachSharing, TheOptimizerHoldsTheLiveTensors) {
  Model model = make();
  const auto expect_live = [&] {
    const auto live = nn::private_parameters(model.network(), model.shared_names());
    const auto& held = model.part_optimizer().parameters();
    ASSERT_EQ(held.size(), live.size());
    for (std::size_t i = 0; i < live.size(); ++i) {
      EXPECT_EQ(held[i].name, live[i].name);
      EXPECT_EQ(held[i].tensor.data_ptr(), live[i].tensor.data_ptr()) << live[i].name;
    }
    const auto shared = nn::shared_parameters(model.network(), model.shared_names());
    ASSERT_EQ(model.bank().layers().size(), shared.size());
    for (std::size_t i = 0; i < shared.size(); ++i) {
      EXPECT_EQ(model.bank().layers()[i].state.effective.data_ptr(), shared[i].tensor.data_ptr());
      EXPECT_TRUE(shared[i].tensor.requires_grad());
    }
  };
  for (std::int64_t classes : {2, 5, 2}) {
    model.begin_task(classes);
    model.begin_stage(true);
    const TensorFile snapshot = model.snapshot();
    train_step(model, 1);
    model.restore(snapshot);
    expect_live();
    const std::string bytes = saved(model, true);
    load(model, bytes);
    expect_live();
    EXPECT_EQ(saved(model, true), bytes);
    model.commit();
  }
}

TEST_P(EachSharing, RestoreIsExact) {
  Model model = make();
  learn(model, 2, 1);
  model.begin_task(5);
  train_stage(model, 2, 0.3);
  const TensorFile snapshot = model.snapshot();
  const std::string digest = model.weight_digest();
  train_stage(model, 3, 0.8);
  EXPECT_NE(model.weight_digest(), digest);
  model.restore(snapshot);
  EXPECT_EQ(model.weight_digest(), digest);
  EXPECT_EQ(serialize_tensor_file(model.snapshot()), serialize_tensor_file(snapshot));
  // Two trainings from the same snapshot are the same training, whatever went before.
  train_stage(model, 4, 0.5);
  const std::string once = saved(model, true);
  train_stage(model, 5, 0.9);
  model.restore(snapshot);
  train_stage(model, 4, 0.5);
  EXPECT_EQ(saved(model, true), once);
}

TEST_P(EachSharing, ContinuesBitForBitFromAFile) {
  Model model = make();
  learn(model, 2, 1);
  model.begin_task(5);
  model.begin_stage(true);
  for (std::uint64_t s = 0; s < 3; ++s) train_step(model, s);
  model.bank().prune(0.2);
  train_step(model, 3);
  const std::string bytes = saved(model, true);
  Model other = make(/*seed=*/9);  // none of its own weights may survive
  load(other, bytes);
  EXPECT_EQ(saved(other, true), bytes);
  EXPECT_EQ(other.weight_digest(), model.weight_digest());
  for (Model* m : {&model, &other}) {
    train_step(*m, 10);
    m->bank().prune(0.5);
    train_step(*m, 11);
    m->show_averages();
  }
  EXPECT_EQ(other.weight_digest(), model.weight_digest());
  for (Model* m : {&model, &other}) {
    m->hide_averages();
    m->adopt_averages();
    m->commit();
  }
  EXPECT_EQ(saved(other, false), saved(model, false));
  for (std::int64_t task : {1, 2}) {
    model.activate(task);
    other.activate(task);
    EXPECT_EQ(other.weight_digest(), model.weight_digest());
  }
}

TEST_P(EachSharing, AveragesAreShownAndHidden) {
  Model model = make();
  learn(model, 2, 1);
  model.begin_task(5);
  train_stage(model, 2, 0.3);
  const std::string bytes = saved(model, true), live = model.weight_digest();
  model.show_averages();
  const std::string averaged = model.weight_digest();
  EXPECT_NE(averaged, live);
  model.hide_averages();
  EXPECT_EQ(model.weight_digest(), live);
  EXPECT_EQ(saved(model, true), bytes);
  model.adopt_averages();
  EXPECT_EQ(model.weight_digest(), averaged);
}

TEST_P(EachSharing, RewindIsTheModelOfThatDay) {
  Model model = make();
  learn(model, 2, 1);
  learn(model, 5, 2);
  const std::string day_two = saved(model, false);
  learn(model, 3, 3);
  model.activate(3);
  const std::string third = model.weight_digest(), all = saved(model, false);
  if (overwritten()) {
    expect_usage_error({"finetune", "3"}, [&] { model.rewind(2); });
    return;
  }
  // Also with a fourth task under way, on a model read from a file.
  Model other = make(7);
  load(other, all);
  other.begin_task(4);
  train_stage(other, 9, 0.2);
  for (Model* m : {&model, &other}) {
    m->rewind(2);
    EXPECT_EQ(saved(*m, false), day_two);
  }
  learn(model, 3, 3);
  model.activate(3);
  EXPECT_EQ(model.weight_digest(), third);
  EXPECT_EQ(saved(model, false), all);
  expect_usage_error({"3 finished"}, [&] { model.rewind(4); });
  expect_usage_error({"3 finished"}, [&] { model.rewind(0); });
}

TEST_P(EachSharing, DigestCoversEveryTensor) {
  Model model = make();
  learn(model, 2, 1);
  model.activate(1);
  const at::NoGradGuard no_grad;
  std::vector<nn::NamedTensor> all = model.network().parameters();
  for (const auto& b : model.network().buffers()) all.push_back(b);
  const std::string digest = model.weight_digest();
  for (const auto& [name, tensor] : all) {
    const at::Tensor kept = tensor.clone();
    tensor.detach().add_(tensor.is_floating_point() ? at::Scalar(1e-3) : at::Scalar(1));
    EXPECT_NE(model.weight_digest(), digest) << name;
    tensor.detach().copy_(kept);
    EXPECT_EQ(model.weight_digest(), digest) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Model, EachSharing,
                         testing::Values(Case{"cmat", Sharing::owned, true, at::kFloat},
                                         Case{"cmat_double", Sharing::owned, true, at::kDouble},
                                         Case{"cmat_private", Sharing::owned, true, at::kFloat,
                                              300},
                                         Case{"packnet", Sharing::owned, false, at::kFloat},
                                         Case{"individual", Sharing::separate, false, at::kFloat},
                                         Case{"finetune", Sharing::overwritten, false, at::kFloat}),
                         [](const auto& item) { return item.param.name; });

Model make_model(Sharing sharing) {
  ModelOptions options;
  options.sharing = sharing;
  return Model(tiny_description(), options);
}

TEST(Model, FineTuningKeepsHeadsAndTakesTheLatestBody) {
  Model model = make_model(Sharing::overwritten);
  for (std::uint64_t t = 1; t <= 3; ++t) learn(model, kClasses[t - 1], t);
  model.activate(3);
  const nn::TaskPart last = nn::capture_part(model.network(), model.shared_names());
  const at::Tensor conv = model.network().parameters().front().tensor.detach().clone();
  model.activate(1);
  const nn::TaskPart shown = nn::capture_part(model.network(), model.shared_names());
  for (const auto& [name, tensor] : shown.tensors) {
    const nn::TaskPart& from = name.starts_with("fc.") ? model.parts()[0] : last;
    EXPECT_TRUE(tensor.equal(from.tensors.at(name))) << name;
  }
  EXPECT_TRUE(model.network().parameters().front().tensor.equal(conv));
}

/// The body is in the middle of another task: whatever came out would be nobody's network.
TEST(Model, FineTuningHasNoOldTasksWhileItTrains) {
  Model model = make_model(Sharing::overwritten);
  learn(model, 2, 1);
  model.begin_task(2);
  train_stage(model, 2, 0);
  expect_failure({"task 2"}, [&] { model.activate(1); });
  expect_usage_error({"task 2"}, [&] { model.rewind(1); });
}

TEST(Model, OldTasksCanBeLookedAtWhileAnotherTrains) {
  for (Sharing sharing : {Sharing::owned, Sharing::separate}) {
    Model model = make_model(sharing);
    learn(model, 2, 1);
    model.activate(1);
    const std::string digest = model.weight_digest();
    model.begin_task(5);
    train_stage(model, 2, 0.5);
    const std::string bytes = saved(model, true);
    model.activate(1);
    EXPECT_EQ(model.weight_digest(), digest);
    load(model, bytes);
    EXPECT_EQ(saved(model, true), bytes);
  }
}

TEST(Model, AFinishedFileReplacesATaskUnderWay) {
  Model model = make_model(Sharing::owned);
  learn(model, 2, 1);
  const std::string bytes = saved(model, false);
  learn(model, 5, 2);
  model.activate(2);
  const std::string second = model.weight_digest();
  Model other = make_model(Sharing::owned);
  other.begin_task(3);
  train_stage(other, 8, 0.1);
  load(other, bytes);
  learn(other, 5, 2);
  other.activate(2);
  EXPECT_EQ(other.weight_digest(), second);
}

const std::vector<const char*> kOptional = {"/scores",   "/score_m",        "/score_v",
                                            "/momentum", "/average_values", "/average_scores"};

TEST(Model, DamagedFilesAreRefused) {
  Model model = make_model(Sharing::owned);
  learn(model, 2, 1);
  model.begin_task(2);
  TensorFile good;
  model.save(good, "", true);
  for (const auto& [name, tensor] : good.tensors) {
    // What a bank holds for training only may be absent (a snapshot has none of it), and so may
    // picks.
    const bool optional = std::any_of(kOptional.begin(), kOptional.end(), [&](const char* part) {
      return name.starts_with("bank") && name.ends_with(part);
    });
    if (optional || name.ends_with("/average")) continue;
    TensorFile lacking = good;
    lacking.tensors.erase(name);
    Model other = make_model(Sharing::owned);
    EXPECT_THROW(
        {
          other.load(lacking, "");
          other.activate(1);
        },
        Error)
        << name;
  }
  TensorFile wrong = good;
  wrong.tensors["state"] = nn::to_bytes(at::full({5}, 300, at::kLong));
  Model other = make_model(Sharing::owned);
  expect_failure({"damaged"}, [&] { other.load(wrong, ""); });
}

TEST(Model, Bytes) {
  Model owned = make_model(Sharing::owned), separate = make_model(Sharing::separate);
  for (std::uint64_t t = 1; t <= 2; ++t) {
    learn(owned, 2, t);
    learn(separate, 2, t);
  }
  const std::int64_t weights = 6 * 3 * 9 + 12 * 6 * 9;
  EXPECT_EQ(owned.value_bytes(), 4 * weights);
  EXPECT_EQ(owned.owner_bytes(), weights);
  EXPECT_EQ(separate.value_bytes(), 2 * 4 * weights);
  EXPECT_EQ(separate.owner_bytes(), 0);
}

}  // namespace
}  // namespace cmat::train
