// Every method from the command line to the last command: what it learned is shown, measured,
// verified, inspected, exported; and what makes no sense is refused.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/picture_folder.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

struct MethodCase {
  std::string name, label;
  Arguments assignments;
};

class EveryMethod : public ::testing::TestWithParam<MethodCase> {};

TEST_P(EveryMethod, TakesAllCommands) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, GetParam().assignments);
  const json results = read_json(run / "results.json");
  EXPECT_EQ(results.at("method"), GetParam().label);
  ASSERT_EQ(results.at("matrices").at("clean").size(), 3u);
  for (const char* attack : {"clean", "pgd5"}) {
    EXPECT_EQ(results.at("summary").at(attack).at("forgetting"), 0.0);
  }
  const Outcome show = run_program({"show", run.string()});
  EXPECT_NE(show.out.find(GetParam().label), std::string::npos) << show.out;
  const Outcome verified = run_program({"verify", run.string(), "--json", "--threads", "1"});
  EXPECT_EQ(verified.status, 0) << verified.err;
  EXPECT_EQ(json::parse(verified.out).at("tasks").size(), 3u);
  const Outcome inspected = run_program({"inspect", run.string(), "--json"});
  EXPECT_EQ(inspected.status, 0) << inspected.err;
  const json inside = json::parse(inspected.out);
  EXPECT_EQ(inside.at("bytes").at("total"), results.at("bytes").at("total"));
  const Outcome evaluated =
      run_program({"eval", run.string(), "--attack", "pgd5", "--tasks", "2", "--json"});
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  for (const json& row : results.at("per_task")) {
    if (row.at("task") != 2 || row.at("attack") != "pgd5") continue;
    EXPECT_EQ(json::parse(evaluated.out).at("means").at("pgd5"), row.at("accuracy"));
  }
  const fs::path exported = folder / "task3.onnx";
  EXPECT_EQ(run_program({"export", run.string(), "--task", "3", "-o", exported.string()}).status, 0);
  EXPECT_TRUE(fs::exists(exported));
  write_pictures(folder / "pictures", {"stripes"}, 1, 16);
  const Outcome predicted = run_program(
      {"predict", run.string(), (folder / "pictures").string(), "--task", "2", "--json"});
  EXPECT_EQ(predicted.status, 0) << predicted.err;
  EXPECT_EQ(json::parse(predicted.out).at("pictures")[0].at("probabilities").size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, EveryMethod,
    ::testing::Values(
        MethodCase{"pae",
                   "pae",
                   {"method.name=pae", "train.epochs=1", "method.compaction=progressive",
                    "method.targets=[0.3,0.5]", "growth.max_width=1", "growth.min_free=0.3"}},
        MethodCase{"piggyback", "piggyback", {"method.name=piggyback", "compact.pick_lr=0.01"}},
        MethodCase{"small", "small", {"method.name=small", "method.budget=6000"}},
        MethodCase{"joint", "joint (oracle, 1 head)", {"method.name=joint"}},
        MethodCase{"joint_heads",
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

TEST(Piggyback, LaterTasksOnlyPick) {
  const TemporaryFolder folder;
  const Arguments piggyback = {"method.name=piggyback", "compact.pick_lr=0.01"};
  train_to_end(folder / "run", piggyback);
  train_to_end(folder / "first", piggyback + Arguments{"stream.only=[0]"});
  EXPECT_EQ(bank_of(folder / "run"), bank_of(folder / "first"));
  const json results = read_json(folder / "run" / "results.json");
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
  const fs::path task = folder / "task.toml";
  write_file_atomic(task, "source = \"synthetic\"\nname = \"more\"\nclasses = [0, 1]\n");
  expect_success(run_program({"add", (folder / "first").string(), "--task", task.string()}));
  EXPECT_EQ(bank_of(folder / "first-2"), bank_of(folder / "first"));
}

TEST(Piggyback, AnExportedNetworkIsABackbone) {
  const TemporaryFolder folder;
  train_to_end(folder / "start", {"method.name=individual", "seed=9"});
  const fs::path file = folder / "backbone.safetensors";
  expect_success(run_program({"export", (folder / "start").string(), "--task", "1", "-o",
                              file.string(), "--keep-channels"}));
  const Arguments given = {"method.name=piggyback", "method.backbone=file", "network.init=file",
                           "network.file=" + file.string()};
  train_to_end(folder / "run", given);
  const TensorFile backbone = read_tensor_file(file);
  for (const char* layer : {"conv1.weight", "conv2.weight"}) {
    const std::string name = "model/bank0/" + std::string(layer);
    EXPECT_EQ(bank_of(folder / "run").at(name + "/values"), backbone.tensors.at(layer).bytes);
    EXPECT_EQ(bank_of(folder / "run").at(name + "/owners").find_first_not_of('\1'),
              std::string::npos);
  }
  expect_refused(train_tiny(folder / "none", {"method.name=piggyback", "method.backbone=file"}), 2,
                 {"method.backbone", "network.init", "network.file"});
}

TEST(Piggyback, RefusesToGoOnFromWeightsWithoutAnOwner) {
  const TemporaryFolder folder;
  train_to_end(folder / "cmat");
  expect_refused(train_tiny(folder / "run", {"method.name=piggyback"}) +
                     Arguments{"--from", (folder / "cmat").string() + "@1"},
                 2, {"--from", "nobody's", "piggyback"});
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(Joint, RefusesWhatNeedsTasksOneAfterTheOther) {
  const TemporaryFolder folder;
  const fs::path run = folder / "joint";
  train_to_end(run, {"method.name=joint"});
  const Arguments from = {"--from", run.string() + "@1"};
  expect_refused(train_tiny(folder / "a", {"method.name=joint"}) + from, 2, {"joint", "at once"});
  expect_refused(train_tiny(folder / "a", {"method.name=packnet"}) + from, 2, {"joint", "at once"});
  const fs::path task = folder / "task.toml";
  write_file_atomic(task, "source = \"synthetic\"\nname = \"more\"\nclasses = [0, 1]\n");
  expect_refused({"add", run.string(), "--task", task.string()}, 2, {"joint", "anew"});
}

TEST(Small, RefusesWhatHasNoBudget) {
  const TemporaryFolder folder;
  const fs::path out = folder / "run";
  const auto refuse = [&](const Arguments& assignments, const std::vector<std::string>& parts) {
    expect_refused(train_tiny(out, Arguments{"method.name=small"} + assignments), 2, parts);
    EXPECT_FALSE(fs::exists(out));
  };
  refuse({}, {"method.budget", "method.budget_run"});
  refuse({"method.budget=100"}, {"method.budget = 100", "at the least"});
  refuse({"method.budget_run=" + (folder / "none").string()}, {"not a run folder"});
}

TEST(Methods, KillsChangeNothing) {
  const std::vector<Arguments> methods = {
      {"method.name=piggyback", "compact.pick_lr=0.01"},
      {"method.name=joint", "method.joint_head=tasks", "compact.epochs=4"}};
  for (const Arguments& method : methods) {
    SCOPED_TRACE(method.front());
    const TemporaryFolder folder;
    const fs::path run = folder / "run";
    const Arguments all = method + Arguments{"checkpoint.every_steps=1"};
    train_to_end(folder / "undisturbed", all);
    const Arguments command = train_tiny(run, all) + Arguments{"--resume"};
    for (const int moment : {3, 4, 6, 7}) {
      Program program(command);
      program.send_when(SIGKILL, kill_moment(run, moment));
      program.wait();
    }
    expect_success(run_program(command));
    expect_same_end(run, folder / "undisturbed");
  }
}

}  // namespace
}  // namespace cmat::test
