// cmat bench at sizes that take no time: the figures are there and are numbers that can be.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/expect_refused.h"
#include "app/program.h"

namespace cmat::test {
namespace {

using nlohmann::json;

const Arguments kFew = {"--batch", "4",         "--classes", "2",         "--attack-steps",
                        "2",       "--threads", "1",         "--repeats", "2"};
const Arguments kSmall = {"--network", "resnet8", "--width", "0.5"};

json bench(const std::string& what, const Arguments& network, const Arguments& more = {}) {
  const Outcome outcome = run_program(Arguments{"bench", what, "--json"} + kFew + network + more);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return outcome.status == 0 ? json::parse(outcome.out) : json::object();
}

void expect_positive(const json& result, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    ASSERT_TRUE(result.contains(key)) << key << " in " << result;
    EXPECT_GT(result.at(key).get<double>(), 0) << key;
  }
}

TEST(Bench, StepAndItsParts) {
  for (const char* task : {"1", "2", "3"}) {
    const json result = bench("step", kSmall, {"--task", task});
    expect_positive(result, {"seconds_per_step", "images_per_second", "fastest_seconds",
                             "slowest_seconds", "attack_seconds", "bank_seconds"});
    EXPECT_GE(result.at("weight_seconds"), 0);
    EXPECT_LE(result.at("fastest_seconds"), result.at("seconds_per_step"));
    EXPECT_LE(result.at("seconds_per_step"), result.at("slowest_seconds"));
    EXPECT_EQ(result.at("task"), std::stoi(task));
    EXPECT_EQ(result.at("network"), "resnet8");
    EXPECT_EQ(result.at("threads"), 1);
  }
}

TEST(Bench, AStepsPassesAreThoseOfItsObjective) {
  // docs/objectives.md, with 2 steps of the attack
  const std::vector<std::pair<std::string, json>> all = {
      {"standard", {{"attack", 0}, {"look", 0}, {"train_forward", 1}, {"train_backward", 1}}},
      {"trades", {{"attack", 2}, {"look", 1}, {"train_forward", 2}, {"train_backward", 2}}},
      {"mart", {{"attack", 2}, {"look", 0}, {"train_forward", 2}, {"train_backward", 2}}},
      {"free", {{"attack", 0}, {"look", 0}, {"train_forward", 1}, {"train_backward", 1}}},
      {"anp-vs", {{"attack", 2}, {"look", 0}, {"train_forward", 2}, {"train_backward", 3}}}};
  for (const auto& [objective, passes] : all) {
    const json result = bench("step", kSmall, {"--objective", objective});
    EXPECT_EQ(result.at("passes"), passes) << objective;
    expect_positive(result, {"seconds_per_step", "predicted_seconds", "ratio"});
    EXPECT_LE(result.at("smallest_ratio"), result.at("ratio"));
    EXPECT_GE(result.at("largest_ratio"), result.at("ratio"));
  }
  EXPECT_EQ(bench("step", kSmall, {"--set", "objective.awp=0.01"}).at("passes").at("train_forward"),
            2);
  expect_refused({"bench", "step", "--objective", "trade"}, 2, {"trades"});
}

TEST(Bench, KernelsCountTheirArithmetic) {
  // One linear layer, 3*32*32 -> 2, 4 images. Each of 2 attack steps multiplies forwards and
  // backwards; the weight step forwards and for the weights. Two operations a multiplication.
  const json result = bench("kernels", {"--network", "linear"});
  expect_positive(result, {"seconds_per_step", "images_per_second", "attack_seconds",
                           "weight_seconds", "gflop", "gflop_per_second"});
  EXPECT_NEAR(result.at("gflop").get<double>(), 3072e-9 * 2 * 4 * (2 * 2 + 2) * 2, 1e-12);
}

TEST(Bench, PassComparesTheFrozenNetworkWithLibtorch) {
  const json result = bench("pass", kSmall);
  expect_positive(result, {"frozen_seconds", "frozen_forward_seconds", "torch_seconds", "ratio",
                           "freeze_seconds", "weight_bytes"});
  EXPECT_LE(result.at("smallest_ratio"), result.at("ratio"));
  EXPECT_GE(result.at("largest_ratio"), result.at("ratio"));
  EXPECT_LT(result.at("flipped_signs"), 0.01);
  const Outcome refused =
      run_program(Arguments{"bench", "pass", "--kernels", "torch"} + kFew + kSmall);
  EXPECT_NE(refused.status, 0);
  EXPECT_NE(refused.err.find("has no frozen form"), std::string::npos) << refused.err;
}

TEST(Bench, AttackTellsWhatPassesOutsideTheNetwork) {
  const json result = bench("attack", kSmall);
  ASSERT_EQ(result.at("attacks").size(), 5u);
  for (const json& row : result.at("attacks")) {
    expect_positive(row, {"seconds", "forwards_per_second", "outside_share"});
    EXPECT_LT(row.at("outside_share"), 1);
    EXPECT_EQ(row.at("backwards_per_second") == 0, row.at("attack") == "square2");
  }
}

TEST(Bench, LayersNamesEachProduct) {
  const json result = bench("layers", kSmall);
  ASSERT_EQ(result.at("layers").size(), 10u);  // convolutions, projections, head
  EXPECT_EQ(result.at("layers")[1].at("forward"), "winograd 4x4");
  for (const json& layer : result.at("layers")) {
    expect_positive(layer, {"forward_seconds", "backward_seconds", "torch_forward_seconds",
                            "torch_backward_seconds"});
  }
  const Outcome table = run_program(Arguments{"bench", "layers"} + kFew + kSmall);
  EXPECT_NE(table.out.find("layer1.0.conv1"), std::string::npos) << table.out;
}

TEST(Bench, UpdateCountsItsBytes) {
  // All of a first task's weights are its own: value, momentum and average read and written,
  // gradient read, effective value written (32 bytes), and the owner (1 byte). Lines of 64 bytes
  // that are not full make it a little more.
  const json result = bench("update", {"--network", "resnet8"}, {"--task", "1"});
  expect_positive(result, {"update_seconds", "pass_seconds", "ratio", "weights", "bytes"});
  const double bytes = result.at("bytes"), weights = result.at("weights");
  EXPECT_GE(bytes, 33 * weights);
  EXPECT_LE(bytes, 33 * weights + 15 * 8 * 64);
  // With older weights, score, moments and average besides.
  const json second = bench("update", {"--network", "resnet8"}, {"--task", "2"});
  EXPECT_NEAR(second.at("bytes").get<double>() / weights, 65, 1);
}

TEST(Bench, PruneFreesHalf) {
  const json result = bench("prune", kSmall);
  expect_positive(result, {"prune_seconds", "kthvalue_seconds", "speedup", "weights", "freed"});
  EXPECT_NEAR(result.at("freed").get<double>() / result.at("weights").get<double>(), 0.5, 0.01);
}

TEST(Bench, MemoryOfATask) {
  const json first = bench("memory", kSmall, {"--task", "1"});
  const json second = bench("memory", kSmall, {"--task", "2"});
  for (const json& result : {first, second}) {
    expect_positive(result, {"peak_resident_bytes", "part_bytes", "task_bytes", "weights",
                             "commit_seconds", "activate_seconds"});
    EXPECT_EQ(result.at("task_bytes"), result.at("pick_bytes").get<std::int64_t>() +
                                           result.at("part_bytes").get<std::int64_t>());
    EXPECT_LE(result.at("task_bytes"), result.at("largest_task_bytes"));
  }
  EXPECT_EQ(first.at("pick_bytes"), 0);
  // One bit for each weight of task 1, which kept half.
  EXPECT_NEAR(second.at("pick_bytes").get<double>() * 8 / second.at("weights").get<double>(), 0.5,
              0.02);
}

TEST(Bench, AlsoForPeople) {
  const Outcome outcome = run_program(Arguments{"bench", "update"} + kFew + kSmall);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("update_seconds"), std::string::npos) << outcome.out;
}

TEST(Bench, Refusals) {
  expect_refused({"bench"}, 2, {"subcommand"});
  expect_refused({"bench", "step", "--network", "vgg"}, 2, {"vgg"});
  expect_refused({"bench", "step", "--batch", "1"}, 2, {"batch"});
  expect_refused({"bench", "update", "--network", "linear"}, 2, {"--network"});
}

}  // namespace
}  // namespace cmat::test
