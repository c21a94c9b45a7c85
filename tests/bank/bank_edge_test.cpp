// The bank's corners: nothing to prune, everything pruned, the last task number, dead filters,
// picks as bits, and what each saved form brings back.
#include <gtest/gtest.h>

#include <limits>

#include "bank_helpers.h"
#include "cmat/nn/tensors.h"
#include "core/expect_error.h"

namespace cmat::test {
namespace {

using nn::WeightBank;
using Detail = WeightBank::Detail;

WeightBank make_bank(at::ScalarType dtype = at::kDouble, Layout layout = Layout::channels_last) {
  Random random({.seed = 21});
  return WeightBank(live_tensors(small_shapes(), dtype, layout, random), {});
}

void step(WeightBank& bank, std::uint64_t seed) {
  Random random({.seed = seed});
  nn::UpdateOptions options = averaging(0.5);
  options.adam.lr = 4e-3;
  bank.update(random_gradients(bank, Layout::contiguous, random), options);
}

/// Two committed tasks and a third that trains.
WeightBank make_trained_bank(at::ScalarType dtype = at::kDouble) {
  WeightBank bank = make_bank(dtype);
  for (int task = 1; task <= 3; ++task) {
    bank.begin_task(task, true, {.seed = 1});
    bank.begin_stage(true);
    step(bank, static_cast<std::uint64_t>(task));
    step(bank, static_cast<std::uint64_t>(task) + 50);
    bank.prune(0.5);
    if (task < 3) bank.commit();
  }
  return bank;
}

TEST(BankEdge, PruningNothingAndEverything) {
  WeightBank bank = make_bank();
  bank.begin_task(1, true, {});
  bank.begin_stage(true);
  step(bank, 1);
  const std::vector<std::string> before = effective_bits(bank);
  EXPECT_EQ(bank.prune(0), 0);
  EXPECT_EQ(bank.prune(1e-9), 0);  // k = 0
  EXPECT_EQ(effective_bits(bank), before);
  EXPECT_EQ(bank.prune(1), bank.weights());
  EXPECT_EQ(bank.free_weights(), bank.weights());
  EXPECT_EQ(bank.prune(1), 0);
  step(bank, 2);
  for (const auto& layer : bank.layers()) {
    EXPECT_FALSE(layer.state.effective.any().item<bool>());
    EXPECT_FALSE(layer.state.values.any().item<bool>());
    EXPECT_FALSE(layer.state.average_values.any().item<bool>());
  }
}

TEST(BankEdge, ATaskWithoutAnyWeightOfItsOwn) {
  WeightBank bank = make_bank();
  bank.begin_task(1, true, {});
  bank.begin_stage(false);
  step(bank, 1);
  bank.commit();
  const std::vector<std::string> before = effective_bits(bank);
  bank.begin_task(2, true, {});
  bank.begin_stage(true);
  for (const auto& layer : bank.layers()) EXPECT_EQ(layer.candidates, 0);
  step(bank, 2);
  step(bank, 2);
  EXPECT_EQ(bank.prune(0.9), 0);
  EXPECT_EQ(bank.prune(1), 0);
  const nn::OwnershipCount count = bank.count();
  EXPECT_EQ(count.own, 0);
  EXPECT_EQ(count.free, 0);
  EXPECT_EQ(count.older, bank.weights());
  EXPECT_LT(count.picked, count.older);
  bank.commit();
  bank.compose_committed(1, {});
  EXPECT_EQ(effective_bits(bank), before);
}

TEST(BankEdge, TaskNumbers) {
  WeightBank bank = make_bank();
  for (int task = 1; task <= nn::kMaxTasks; ++task) {
    bank.begin_task(task, false, {});
    bank.begin_stage(false);
    bank.prune(task == nn::kMaxTasks ? 0.0 : 0.02);
    bank.commit();
  }
  EXPECT_GT(bank.layers().front().state.owners.max().item<int>(), 0);
  EXPECT_EQ(bank.free_weights(), 0);
  expect_failure({"255", "256"}, [&] { bank.begin_task(256, false, {}); });
  expect_failure({"255"}, [&] { bank.begin_task(0, false, {}); });
}

TEST(BankEdge, DeadFiltersComeBackToLife) {
  for (Layout layout : {Layout::contiguous, Layout::channels_last}) {
    WeightBank bank = make_bank(at::kDouble, layout);
    bank.begin_task(1, false, {});
    // Task 1 keeps filter 0 of the first layer, the first half of filter 1, and nothing else.
    nn::BankTensors& s = bank.layers().front().state;
    const at::Tensor keep = at::zeros({5, 27}, at::kBool);
    keep[0].fill_(true);
    keep[1].narrow(0, 0, 13).fill_(true);
    s.owners.copy_(keep.view({5, 3, 3, 3}).to(at::kByte));
    s.values.mul_(s.owners);
    s.values[1].mul_(0);  // owned, and zero
    const at::Tensor before = s.values.clone();
    bank.commit();
    bank.begin_task(2, true, {.seed = 3});
    EXPECT_TRUE(s.values[0].equal(before[0]));
    for (int filter = 1; filter < 5; ++filter) {
      EXPECT_TRUE(s.values[filter].flatten().ne(0).equal(s.owners[filter].flatten().eq(2)))
          << filter;
    }
    EXPECT_FALSE(s.values[1].flatten().narrow(0, 0, 13).any().item<bool>());
    // Fan-out: 5 filters of 3x3, whatever the layout.
    const at::Tensor drawn = s.values.contiguous().masked_select(s.owners.contiguous().eq(2));
    EXPECT_NEAR(drawn.std().item<double>(), std::sqrt(2.0 / 45), 0.05);
    EXPECT_TRUE(s.effective.equal(s.values));
  }
}

TEST(BankEdge, DrawsDependOnNeitherLayoutNorType) {
  std::vector<at::Tensor> results;
  for (Layout layout : {Layout::contiguous, Layout::channels_last}) {
    for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      Random random({.seed = 1});
      WeightBank bank(live_tensors({{5, 3, 3, 3}}, dtype, layout, random), {});
      bank.layers().front().state.values.zero_();
      bank.begin_task(1, false, {.seed = 8});
      results.push_back(bank.layers().front().state.values.to(at::kFloat).contiguous());
    }
  }
  for (const at::Tensor& result : results) EXPECT_TRUE(result.equal(results.front()));
}

TEST(BankEdge, NotANumberIsNotSmall) {
  WeightBank bank = make_bank();
  bank.begin_task(1, false, {});
  bank.begin_stage(false);
  nn::BankTensors& s = bank.layers().back().state;
  s.values[0].fill_(std::numeric_limits<double>::quiet_NaN());
  bank.prune(0.5);
  EXPECT_TRUE(s.owners[0].eq(1).all().item<bool>());
  EXPECT_EQ(s.owners.eq(0).sum().item<int>(), 33);
}

TEST(BankPicks, BitsRoundTrip) {
  for (std::size_t count : {0U, 1U, 7U, 8U, 9U, 31U, 64U, 65U}) {
    std::vector<bool> bits(count);
    Random random({.seed = count});
    for (std::size_t i = 0; i < count; ++i) bits[i] = random.below(2) == 1;
    const TensorBytes packed = nn::pack_bits(bits);
    EXPECT_EQ(packed.bytes.size(), (count + 7) / 8);
    EXPECT_EQ(nn::unpack_bits(packed, static_cast<std::int64_t>(count), "w"), bits);
  }
}

TEST(BankPicks, StoredOnlyWhereOlder) {
  WeightBank bank = make_trained_bank();
  const auto picks = bank.packed_picks();
  ASSERT_EQ(picks.size(), bank.layers().size());
  bool odd = false;
  for (const auto& layer : bank.layers()) {
    const auto older =
        layer.state.owners.gt(0).logical_and_(layer.state.owners.lt(3)).sum().item<std::int64_t>();
    odd = odd || older % 8 != 0;
    EXPECT_EQ(static_cast<std::int64_t>(picks.at(layer.name).bytes.size()), (older + 7) / 8);
  }
  EXPECT_TRUE(odd);
  const std::vector<std::string> before = effective_bits(bank);
  const nn::OwnershipCount count = bank.count();
  EXPECT_GT(count.picked, 0);
  EXPECT_LT(count.picked, count.older);
  bank.commit();
  bank.compose_committed(1, {});
  bank.compose_committed(3, picks);
  EXPECT_EQ(effective_bits(bank), before);
}

TEST(BankPicks, DamagedOnesAreRefused) {
  WeightBank bank = make_trained_bank();
  const auto good = bank.packed_picks();
  bank.commit();
  const std::string name = bank.layers().front().name;
  auto longer = good;
  longer[name].bytes += 'x';
  expect_failure({name}, [&] { bank.compose_committed(3, longer); });
  auto shorter = good;
  shorter[name].bytes.pop_back();
  expect_failure({name}, [&] { bank.compose_committed(3, shorter); });
  auto other_type = good;
  other_type[name].dtype = Dtype::i32;
  expect_failure({name}, [&] { bank.compose_committed(3, other_type); });
  auto missing = good;
  missing.erase(name);
  expect_failure({name}, [&] { bank.compose_committed(3, missing); });
  EXPECT_NO_THROW(bank.compose_committed(3, good));
}

TensorFile saved(const WeightBank& bank, Detail detail) {
  TensorFile file;
  bank.save(file, "b/", detail);
  return file;
}

TEST(BankFile, TrainingComesBackWhole) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    WeightBank bank = make_trained_bank(dtype);
    const TensorFile file = saved(bank, Detail::training);
    WeightBank other = make_bank(dtype, Layout::contiguous);  // files hold logical order
    other.load(file, "b/", 3, true, bank.adam_step());
    other.compose_active(false);
    EXPECT_EQ(serialize_tensor_file(saved(other, Detail::training)), serialize_tensor_file(file));
    for (int i = 0; i < 3; ++i) {
      step(bank, 70);
      step(other, 70);
      EXPECT_EQ(bank.prune(0.6 + 0.1 * i), other.prune(0.6 + 0.1 * i));
      EXPECT_EQ(effective_bits(bank), effective_bits(other));
    }
    bank.adopt_average();
    other.adopt_average();
    EXPECT_EQ(effective_bits(bank), effective_bits(other));
    EXPECT_EQ(serialize_tensor_file(saved(bank, Detail::training)),
              serialize_tensor_file(saved(other, Detail::training)));
  }
}

TEST(BankFile, SnapshotBringsBackWeightsOwnersAndPicks) {
  WeightBank bank = make_trained_bank();
  const TensorFile file = saved(bank, Detail::snapshot);
  const std::vector<std::string> before = effective_bits(bank);
  const nn::OwnershipCount count = bank.count();
  step(bank, 80);
  bank.prune(0.9);
  bank.load(file, "b/", 3, true, 0);
  bank.compose_active(false);
  EXPECT_EQ(effective_bits(bank), before);
  EXPECT_EQ(bank.count().own, count.own);
  EXPECT_EQ(bank.count().picked, count.picked);
  EXPECT_EQ(bank.count().free, count.free);
  for (const auto& layer : bank.layers()) {
    EXPECT_FALSE(layer.state.momentum.any().item<bool>());
    EXPECT_FALSE(layer.state.score_m.any().item<bool>());
    EXPECT_FALSE(layer.state.average_values.defined());
  }
}

TEST(BankFile, StoredIsValuesAndOwners) {
  WeightBank bank = make_trained_bank();
  const TensorFile file = saved(bank, Detail::stored);
  EXPECT_EQ(file.tensors.size(), 2 * bank.layers().size());
  const auto picks = bank.packed_picks();
  const std::vector<std::string> before = effective_bits(bank);
  WeightBank other = make_bank();
  other.load(file, "b/", 0, false, 0);
  other.compose_committed(3, picks);
  EXPECT_EQ(effective_bits(other), before);
}

TEST(BankFile, AnotherShapeOrTypeIsRefused) {
  const TensorFile file = saved(make_trained_bank(), Detail::training);
  WeightBank single = make_bank(at::kFloat);
  expect_failure({"layer0"}, [&] { single.load(file, "b/", 3, true, 1); });
  Random random({.seed = 1});
  WeightBank wider(live_tensors({{6, 3, 3, 3}}, at::kDouble, Layout::contiguous, random), {});
  expect_failure({"layer0"}, [&] { wider.load(file, "b/", 3, true, 1); });
  WeightBank bank = make_bank();
  expect_failure({"layer"}, [&] { bank.load({}, "b/", 3, true, 1); });
}

TEST(BankFile, ForgettingLaterTasksIsTheBankOfThatDay) {
  WeightBank bank = make_bank();
  std::string day_two;
  for (int task = 1; task <= 4; ++task) {
    bank.begin_task(task, true, {.seed = 1});
    bank.begin_stage(false);
    step(bank, static_cast<std::uint64_t>(task));
    bank.prune(0.5);
    bank.commit();
    if (task == 2) day_two = serialize_tensor_file(saved(bank, Detail::stored));
  }
  bank.forget_after(2);
  EXPECT_EQ(serialize_tensor_file(saved(bank, Detail::stored)), day_two);
}

TEST(BankFile, OverlappingWeightsAreRefused) {
  const at::Tensor expanded = at::zeros({1, 4}, at::kDouble).expand({3, 4});
  expect_failure({"w"}, [&] { WeightBank bank({{"w", expanded}}, {}); });
}

}  // namespace
}  // namespace cmat::test
