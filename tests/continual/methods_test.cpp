// The methods beyond cmat, packnet, individual and finetune, in whole runs: what they learned is
// measured, verified, inspected and exported; and what makes no sense is refused.
#include <gtest/gtest.h>

#include <map>

#include "cmat/continual/run.h"
#include "cmat/core/files.h"
#include "cmat/core/tensor_file.h"
#include "continual/short_run.h"
#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::expect_usage_error;
using test::Overrides;
using test::TemporaryFolder;

TrainOptions tiny(const fs::path& out, const Overrides& overrides, const std::string& from = "") {
  TrainOptions options = test::short_run(out, {"network.width=0.5", "compact.epochs=2"}, overrides);
  options.from = from;
  return options;
}

json trained(const fs::path& out, const Overrides& overrides) {
  return test::trained(tiny(out, overrides));
}

struct MethodRun {
  std::string name, label;
  Overrides overrides;
};

class EveryMethod : public ::testing::TestWithParam<MethodRun> {};

TEST_P(EveryMethod, TakesAllCommands) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  const json results = trained(run, GetParam().overrides);
  EXPECT_EQ(results.at("method"), GetParam().label);
  ASSERT_EQ(results.at("matrices").at("clean").size(), 3u);
  for (const char* attack : {"clean", "pgd5"}) {
    EXPECT_EQ(results.at("summary").at(attack).at("forgetting"), 0.0);
  }
  const json proof = verify(run, {});
  EXPECT_EQ(proof.at("identical"), true);
  ASSERT_EQ(proof.at("tasks").size(), 3u);
  for (const json& task : proof.at("tasks")) EXPECT_EQ(task.at("logits_identical"), true);
  EXPECT_EQ(inspect(run, {}).at("bytes").at("total"), results.at("bytes").at("total"));
  EvaluateOptions options;
  options.attacks = {"pgd5"};
  options.tasks = {2};
  const json means = evaluate(run, options).results.at("means");
  for (const json& row : results.at("per_task")) {
    if (row.at("task") == 2 && row.at("attack") == "pgd5") {
      EXPECT_EQ(means.at("pgd5"), row.at("accuracy"));
    }
  }
  const json exported =
      export_task(run, {.task = "3", .output = folder / "3.onnx", .format = "", .machine = {}});
  EXPECT_EQ(exported.at("classes").size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, EveryMethod,
    ::testing::Values(
        MethodRun{"pae",
                  "pae",
                  {"method.name=pae", "train.epochs=1", "method.compaction=progressive",
                   "method.targets=[0.3,0.5]", "growth.max_width=1", "growth.min_free=0.3"}},
        MethodRun{"piggyback", "piggyback", {"method.name=piggyback", "compact.pick_lr=0.01"}},
        MethodRun{"small", "small", {"method.name=small", "method.budget=6000"}},
        MethodRun{"joint", "joint (oracle, 1 head)", {"method.name=joint"}},
        MethodRun{"joint_heads",
                  "joint (oracle, 3 heads)",
                  {"method.name=joint", "method.joint_head=tasks", "method.select=best"}}),
    [](const auto& test) { return test.param.name; });

/// All tensors of the bank, as the model file has them.
std::map<std::string, std::string> bank_of(const fs::path& run) {
  std::map<std::string, std::string> bank;
  for (const auto& [name, tensor] : read_tensor_file(run / "model.safetensors").tensors) {
    if (name.starts_with("model/bank")) bank[name] = tensor.bytes;
  }
  return bank;
}

fs::path task_file(const TemporaryFolder& folder) {
  write_file_atomic(folder / "task.toml",
                    "source = \"synthetic\"\nname = \"more\"\nclasses = [0, 1]\n");
  return folder / "task.toml";
}

TEST(Piggyback, LaterTasksOnlyPick) {
  const TemporaryFolder folder;
  const Overrides piggyback = {"method.name=piggyback", "compact.pick_lr=0.01"};
  const json results = trained(folder / "run", piggyback);
  trained(folder / "first", {piggyback[0], piggyback[1], "stream.only=[0]"});
  EXPECT_EQ(bank_of(folder / "run"), bank_of(folder / "first"));
  const json& weights = results.at("weights");
  EXPECT_EQ(weights[0].at("own"), weights[0].at("total"));
  EXPECT_EQ(results.at("bytes").at("owners"), 0);
  for (const json& row : {weights[1], weights[2]}) {
    EXPECT_EQ(row.at("own"), 0);
    EXPECT_EQ(row.at("older"), row.at("total"));
    EXPECT_LT(row.at("picked"), row.at("total"));
    EXPECT_GT(row.at("picked"), 0);
  }
  // A later task needs no free weights.
  AddOptions more;
  more.run = folder / "first";
  more.task = task_file(folder);
  json proof;
  EXPECT_EQ(add_task(more, proof), RunStatus::finished);
  EXPECT_EQ(bank_of(folder / "first-2"), bank_of(folder / "first"));
}

TEST(Piggyback, AnExportedNetworkIsABackbone) {
  const TemporaryFolder folder;
  trained(folder / "start", {"method.name=individual", "seed=9"});
  const fs::path file = folder / "backbone.safetensors";
  export_task(folder / "start",
              {.task = "1", .output = file, .format = "", .keep_channels = true, .machine = {}});
  trained(folder / "run", {"method.name=piggyback", "method.backbone=file", "network.init=file",
                           "network.file=" + file.string()});
  const auto bank = bank_of(folder / "run");
  const TensorFile backbone = read_tensor_file(file);
  for (const std::string layer : {"conv1.weight", "conv2.weight"}) {
    EXPECT_EQ(bank.at("model/bank0/" + layer + "/values"), backbone.tensors.at(layer).bytes);
    const std::string& owners = bank.at("model/bank0/" + layer + "/owners");
    EXPECT_EQ(owners.find_first_not_of('\1'), std::string::npos);
  }
  expect_usage_error({"method.backbone", "network.init", "network.file"}, [&] {
    train(tiny(folder / "none", {"method.name=piggyback", "method.backbone=file"}));
  });
}

TEST(Piggyback, RefusesToGoOnFromWeightsWithoutAnOwner) {
  const TemporaryFolder folder;
  trained(folder / "cmat", {});
  expect_usage_error({"--from", "nobody's", "piggyback"}, [&] {
    train(tiny(folder / "run", {"method.name=piggyback"}, (folder / "cmat").string() + "@1"));
  });
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(Joint, RefusesWhatNeedsTasksOneAfterTheOther) {
  const TemporaryFolder folder;
  trained(folder / "joint", {"method.name=joint"});
  for (const char* method : {"method.name=joint", "method.name=packnet"}) {
    expect_usage_error({"joint", "at once"}, [&] {
      train(tiny(folder / "run", {method}, (folder / "joint").string() + "@1"));
    });
  }
  AddOptions more;
  more.run = folder / "joint";
  more.task = task_file(folder);
  json proof;
  expect_usage_error({"joint", "anew"}, [&] { add_task(more, proof); });
}

TEST(Small, RefusesWhatHasNoBudget) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& assignment, const std::vector<std::string>& parts) {
    expect_usage_error(parts, [&] {
      train(tiny(folder / "run", {"method.name=small", assignment}));
    });
    EXPECT_FALSE(fs::exists(folder / "run"));
  };
  refuse("seed=1", {"method.budget", "method.budget_run"});
  refuse("method.budget=100", {"method.budget = 100", "at the least"});
  refuse("method.budget_run=" + (folder / "none").string(), {"not a run folder"});
}

}  // namespace
}  // namespace cmat::continual
