#include <gtest/gtest.h>

#include <cmath>

#include "bank_helpers.h"
#include "cmat/nn/tensors.h"
#include "cmat/train/schedule.h"
#include "golden_file.h"
#include "golden_tensor.h"

namespace cmat::test {
namespace {

constexpr double kTolerance = 1e-12;

/// A bank of one layer that stands where the golden numbers say, in the given layout.
struct LoadedBank {
  at::Tensor live;
  std::unique_ptr<nn::WeightBank> bank;
  nn::BankTensors& state() { return bank->layers().front().state; }
};

LoadedBank load_bank(const nlohmann::json& layer, int task, Layout layout, bool picks) {
  LoadedBank result;
  const at::Tensor values = golden_tensor(layer.at("W"));
  result.live = laid_out(at::zeros_like(values), layout);
  result.bank = std::make_unique<nn::WeightBank>(std::vector<nn::NamedTensor>{{"w", result.live}},
                                                 nn::PickOptions{});
  TensorFile file;
  file.tensors["w/values"] = nn::to_bytes(values);
  file.tensors["w/owners"] = nn::to_bytes(golden_tensor(layer.at("owner")));
  if (picks) file.tensors["w/scores"] = nn::to_bytes(golden_tensor(layer.at("pick")));
  result.bank->load(file, "", task, picks, 0);
  result.bank->compose_active(false);
  return result;
}

const std::vector<Layout> kLayouts = {Layout::contiguous, Layout::channels_last,
                                      Layout::transposed};

TEST(BankGolden, EffectiveWeightsOfEachTask) {
  const nlohmann::json layers = golden("bank.json").at("layers");
  for (const auto& [name, layer] : layers.items()) {
    for (Layout layout : kLayouts) {
      for (const auto& [task, expected] : layer.at("effective").items()) {
        SCOPED_TRACE(name + " task " + task);
        const LoadedBank loaded = load_bank(layer, std::stoi(task), layout, true);
        EXPECT_EQ(max_difference(loaded.live, golden_tensor(expected)), 0.0);
      }
    }
  }
}

TEST(BankGolden, ReferenceHasTheSameEffectiveWeights) {
  const nlohmann::json layers = golden("bank.json").at("layers");
  for (const auto& [name, layer] : layers.items()) {
    for (const auto& [task, expected] : layer.at("effective").items()) {
      const LoadedBank loaded = load_bank(layer, std::stoi(task), Layout::contiguous, true);
      ReferenceBank reference = reference_of(*loaded.bank);
      reference.compose();
      EXPECT_EQ(reference.layers.front().effective, numbers(expected)) << name << " task " << task;
    }
  }
}

nn::UpdateOptions golden_options(const nlohmann::json& constants, bool nesterov) {
  nn::UpdateOptions o;
  o.sgd = {constants.at("lr"), constants.at("momentum"), constants.at("weight_decay"), nesterov};
  const auto adam = constants.at("adam").get<std::vector<double>>();
  o.adam = {constants.at("lr_pick"), adam.at(0), adam.at(1), adam.at(2)};
  return o;
}

/// Picked now and not at first, or the other way round, among older entries.
std::int64_t changed_bits(const nn::BankTensors& s, const at::Tensor& first_scores, int task) {
  const at::Tensor older = s.owners.gt(0).logical_and_(s.owners.lt(task));
  const at::Tensor changed = s.scores.gt(0.005).ne(first_scores.gt(0.005));
  return older.logical_and_(changed).sum().item<std::int64_t>();
}

void check_updates(const nlohmann::json& layer, const nlohmann::json& constants, bool nesterov,
                   Layout layout) {
  const int task = layer.at("task");
  LoadedBank loaded = load_bank(layer, task, layout, true);
  loaded.bank->begin_stage(/*average=*/false);
  ReferenceBank reference = reference_of(*loaded.bank);
  reference.begin_stage(false);
  const at::Tensor first_scores = loaded.state().scores.clone();
  const nn::UpdateOptions options = golden_options(constants, nesterov);
  const nlohmann::json& steps = layer.at(nesterov ? "nesterov" : "plain");
  ASSERT_EQ(steps.size(), layer.at("G").size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    SCOPED_TRACE("step " + std::to_string(i));
    const nlohmann::json& expected = steps[i];
    // A gradient in row-major order, as autograd may hand one back for a weight in another.
    loaded.bank->update({golden_tensor(layer.at("G")[i])}, options);
    reference.update({numbers(layer.at("G")[i])}, options);
    const nn::BankTensors& s = loaded.state();
    EXPECT_LE(max_difference(s.values, golden_tensor(expected.at("W"))), kTolerance);
    EXPECT_LE(max_difference(s.momentum, golden_tensor(expected.at("momentum"))), kTolerance);
    EXPECT_LE(max_difference(s.scores, golden_tensor(expected.at("pick"))), kTolerance);
    EXPECT_LE(max_difference(loaded.live, golden_tensor(expected.at("effective"))), kTolerance);
    const ReferenceLayer& r = reference.layers.front();
    expect_near(r.values, numbers(expected.at("W")), kTolerance, "reference W");
    expect_near(r.momentum, numbers(expected.at("momentum")), kTolerance, "reference momentum");
    expect_near(r.scores, numbers(expected.at("pick")), kTolerance, "reference picks");
    expect_near(r.effective, numbers(expected.at("effective")), kTolerance, "reference effective");
    if (nesterov) {
      EXPECT_EQ(changed_bits(s, first_scores, task), layer.at("picked_bits_changed_after_step")[i]);
    }
  }
}

TEST(BankGolden, Updates) {
  const nlohmann::json file = golden("bank.json");
  for (const auto& [name, layer] : file.at("layers").items()) {
    for (bool nesterov : {true, false}) {
      for (Layout layout : kLayouts) {
        SCOPED_TRACE(name + (nesterov ? " nesterov" : " plain"));
        check_updates(layer, file.at("constants"), nesterov, layout);
      }
    }
  }
}

void check_pruning(const nlohmann::json& layer, const nlohmann::json& item, Layout layout) {
  SCOPED_TRACE("ratio " + item.at("ratio").dump());
  LoadedBank loaded = load_bank(layer, layer.at("task"), layout, false);
  loaded.bank->begin_stage(/*average=*/true);
  ReferenceBank reference = reference_of(*loaded.bank);
  const at::Tensor before = loaded.state().values.clone();
  const std::int64_t freed = loaded.bank->prune(item.at("ratio").get<double>());
  EXPECT_EQ(reference.prune(item.at("ratio").get<double>()), freed);
  const nn::BankTensors& s = loaded.state();
  const at::Tensor owners = s.owners.contiguous();
  if (item.contains("owner_after")) {  // the map itself is given for some ratios only
    EXPECT_TRUE(owners.equal(golden_tensor(item.at("owner_after"))));
  }
  EXPECT_EQ(freed, item.value("freed", freed));
  const std::int64_t candidates = loaded.bank->layers().front().candidates;
  EXPECT_EQ(candidates, item.value("candidates", candidates));
  const at::Tensor freed_now = owners.ne(golden_tensor(layer.at("owner")));
  EXPECT_TRUE(s.values.equal(before.masked_fill(freed_now, 0)));
  EXPECT_TRUE(s.average_values.equal(s.values));
  EXPECT_EQ(reference_of(*loaded.bank).layers.front().owners, reference.layers.front().owners);
  expect_near(logical(s.values), reference.layers.front().values, 0, "values");
}

TEST(PruningGolden, OneShot) {
  const nlohmann::json one_shot = golden("pruning.json").at("one_shot");
  for (const auto& [name, layer] : one_shot.items()) {
    SCOPED_TRACE(name);
    for (const auto& item : layer.at("cases")) {
      for (Layout layout : kLayouts) check_pruning(layer, item, layout);
    }
  }
}

TEST(PruningGolden, Ties) {
  const nlohmann::json ties = golden("pruning.json").at("ties");
  for (const auto& item : ties.at("cases")) check_pruning(ties, item, Layout::contiguous);
}

TEST(PruningGolden, Rounding) {
  const nlohmann::json rounding = golden("pruning.json").at("rounding");
  for (const char* list : {"differ", "float_traps"}) {
    for (const auto& row : rounding.at(list)) {
      const double product = row[0].get<double>() * static_cast<double>(row[1].get<int>());
      EXPECT_EQ(product, row[2].get<double>()) << row;
      EXPECT_EQ(nn::round_half_even(product), row[3].get<std::int64_t>()) << row;
      EXPECT_EQ(reference_round(product), row[3].get<std::int64_t>()) << row;
    }
  }
}

TEST(PruningGolden, RampOfRatios) {
  const nlohmann::json schedule = golden("pruning.json").at("schedule");
  for (const auto& item : schedule.at("cases")) {
    const std::int64_t begin = item.at("begin"), steps = item.at("T");
    const double start = item.at("s_start"), end = item.at("s_end");
    for (const auto& row : item.at("step_and_ratio")) {
      EXPECT_NEAR(train::pruning_ratio(start, end, row[0].get<std::int64_t>() - begin, steps),
                  row[1].get<double>(), kTolerance)
          << item.at("s_end") << " " << row;
    }
    EXPECT_NEAR(train::pruning_ratio(start, end, 0, steps), item.at("s_at_0"), kTolerance);
    EXPECT_NEAR(train::pruning_ratio(start, end, steps, steps), item.at("s_at_T"), kTolerance);
  }
}

TEST(PruningGolden, SharesOfPackNet) {
  const nlohmann::json share = golden("pruning.json").at("packnet_share");
  const auto expected = share.at("owned_of_1728_by_task").get<std::vector<std::int64_t>>();
  Random random({.seed = 3});
  nn::WeightBank bank({{"w", at::zeros({64, 3, 3, 3}, at::kDouble)}}, {});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const int task = static_cast<int>(i) + 1;
    bank.begin_task(task, /*picks=*/false, {});
    nn::BankTensors& s = bank.layers().front().state;
    s.values.copy_(
        at::where(s.owners.eq(task), random_tensor({64, 3, 3, 3}, at::kDouble, random), s.values));
    bank.begin_stage(false);
    bank.prune(share.at("prune"));
    EXPECT_EQ(bank.count().own, expected[i]) << "task " << task;
    bank.commit();
  }
}

TEST(SchedulesGolden, Multistep) {
  const nlohmann::json file = golden("schedules.json");
  for (const auto& [name, item] : file.at("multistep").items()) {
    const train::Schedule schedule{.kind = train::ScheduleKind::multistep,
                                   .lr = item.at("lr"),
                                   .milestones = item.at("milestones"),
                                   .gamma = item.at("gamma")};
    for (const auto& row : item.at("epoch_and_lr")) {
      EXPECT_NEAR(schedule.at(0, 1, row[0].get<std::int64_t>()), row[1].get<double>(), kTolerance)
          << name << row;
    }
  }
}

TEST(SchedulesGolden, Cosine) {
  int checked = 0;
  const nlohmann::json file = golden("schedules.json");
  for (const auto& [name, item] : file.at("cosine").items()) {
    if (item.at("lr_min").get<double>() != 0) continue;  // ours ends at 0
    const train::Schedule schedule{
        .kind = train::ScheduleKind::cosine, .lr = item.at("lr"), .milestones = {}};
    for (const auto& row : item.at("step_and_lr")) {
      EXPECT_NEAR(schedule.at(row[0].get<std::int64_t>(), item.at("steps").get<std::int64_t>(), 0),
                  row[1].get<double>(), kTolerance)
          << name << row;
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

TEST(SchedulesGolden, WarmupThenCosine) {
  const nlohmann::json file = golden("schedules.json");
  for (const auto& [name, item] : file.at("warmup_cosine").items()) {
    const auto steps = item.at("steps").get<std::int64_t>();
    const train::Schedule schedule{
        .kind = train::ScheduleKind::cosine,
        .lr = item.at("lr"),
        .warmup = item.at("warmup_steps").get<double>() / static_cast<double>(steps),
        .milestones = {}};
    for (const auto& row : item.at("step_and_lr")) {
      EXPECT_NEAR(schedule.at(row[0].get<std::int64_t>(), steps, 0), row[1].get<double>(),
                  kTolerance)
          << name << row;
    }
  }
}

}  // namespace
}  // namespace cmat::test
