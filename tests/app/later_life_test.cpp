// What happens to a finished run later: a task is added, pictures are labelled.
#include <gtest/gtest.h>

#include <fstream>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "data/make_picture.h"

namespace cmat::test {
namespace {

/// Four classes in two tasks, with room for a third.
Arguments room() { return {"stream.only=[0,1]", "method.quota=fixed", "method.fixed_ratio=0.5"}; }

/// A task of other synthetic images than the run's.
std::string task_file(const TemporaryFolder& folder, const std::string& more = "",
                      const std::string& name = "new") {
  const fs::path file = folder / "task.toml";
  std::ofstream(file) << "name = \"" << name << "\"\nsource = \"synthetic\"\n"
                      << more << "\n[synthetic]\nclasses = 3\n";
  return file.string();
}

TEST(Add, ATaskToAFinishedRun) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run", out = folder / "run-3";
  train_to_end(run, room());
  const std::string model = read_file(run / "model.safetensors");
  const Outcome added = run_program({"add", run.string(), "--task", task_file(folder)});
  expect_success(added);
  EXPECT_NE(added.out.find("All 2 old tasks"), std::string::npos) << added.out;
  EXPECT_TRUE(read_file(run / "model.safetensors") == model);
  const json old_results = read_json(run / "results.json"),
             results = read_json(out / "results.json");
  ASSERT_EQ(results.at("tasks").size(), 3U);
  EXPECT_EQ(results.at("tasks")[2].at("name"), "new");
  EXPECT_EQ(results.at("tasks")[2].at("classes").size(), 3U);
  EXPECT_GT(results.at("weights")[2].at("own"), 0);
  for (std::size_t t = 0; t < 2; ++t)
    EXPECT_EQ(results.at("weights")[t], old_results.at("weights")[t]);
  const auto digests = [](const fs::path& r) {
    std::vector<std::string> list;
    for (const json& e : events_of(r)) {
      if (e.at("event") == "commit") list.push_back(e.at("weight_digest"));
    }
    return list;
  };
  EXPECT_EQ(read_json(out / "run.json").at("status"), "finished");
  EXPECT_EQ(digests(run).size(), 2U);
  EXPECT_EQ(digests(out).size(), 1U);  // only the new task was learned there

  // Once more: nothing to do. And one more task for the new run.
  expect_success(run_program({"add", run.string(), "--task", task_file(folder)}));
  expect_success(
      run_program({"add", out.string(), "--task", task_file(folder, "", "newer"), "--min-free", "0",
                   "--set", "compact.epochs=1", "--out", (folder / "four").string()}));
  EXPECT_EQ(read_json(folder / "four/results.json").at("tasks").size(), 4U);
}

TEST(Add, SaysHowMuchIsMissingAndGrowsIfAllowed) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, {"stream.only=[0,1]"});  // the last task keeps all that is left
  const Arguments add = {"add", run.string(), "--task", task_file(folder)};
  expect_refused(add, 2, {"weights free (0%)", "needs 2%", "--max-width", "would be free"});
  for (const char* width : {"0.3", "0.5"}) {
    expect_refused(add + Arguments{"--max-width", width}, 2,
                   {std::string("--max-width ") + width + " is too small", "has width 0.5", "at width 0.625"});
  }
  EXPECT_FALSE(fs::exists(folder / "run-3"));
  expect_success(run_program(add + Arguments{"--max-width", "1"}));
  const json weights = read_json(folder / "run-3/results.json").at("weights");
  EXPECT_EQ(weights[1].at("width"), 0.5);
  EXPECT_EQ(weights[2].at("width"), 0.75);
  EXPECT_GT(weights[2].at("own"), 0);
}

TEST(Add, GoesOnAfterAKill) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run", out = folder / "killed";
  train_to_end(run, room());
  const Arguments add = {
      "add",   run.string(),       "--task", task_file(folder), "--set", "checkpoint.every_steps=1",
      "--set", "compact.epochs=6", "--out"};
  expect_success(run_program(add + Arguments{(folder / "whole").string()}));
  Program program(add + Arguments{out.string()});
  ASSERT_TRUE(program.send_when(SIGKILL, event_added(out, "epoch", 3)));
  program.wait();
  expect_success(run_program(add + Arguments{out.string()}));
  EXPECT_TRUE(read_file(out / "model.safetensors") ==
              read_file(folder / "whole/model.safetensors"));
}

TEST(Add, WhatCannotBe) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run", finetuned = folder / "finetuned";
  train_to_end(run, room());
  train_to_end(finetuned, {"method.name=finetune", "stream.only=[0]"});
  const std::string task = task_file(folder);
  expect_refused({"add", (folder / "none").string(), "--task", task}, 2, {"not a run folder"});
  expect_refused({"add", finetuned.string(), "--task", task}, 2, {"finetune", "overwrites"});
  expect_refused({"add", run.string(), "--task", task_file(folder, "clases = [0, 1]")}, 2,
                 {"clases", "classes"});
  expect_refused({"add", run.string(), "--task", (run / "config.toml").string()}, 2,
                 {"unknown key", "config.toml", "keys of one [[task]]"});
  expect_refused({"add", run.string(), "--task", (folder / "none.toml").string()}, 2,
                 {"none.toml"});
  // Old weights that were changed behind the run's back are found before anything is learned.
  std::string model = read_file(run / "model.safetensors");
  model[model.size() - 20] ^= 1;
  std::ofstream(run / "model.safetensors", std::ios::binary) << model;
  expect_refused({"add", run.string(), "--task", task_file(folder)}, 1, {"model.safetensors"});
}

class Predict : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      const std::string name = "picture" + std::to_string(i);
      const Canvas canvas = paint(40 + 9 * i, 30, 3, [i](int x, int y, int c) {
        return static_cast<std::uint8_t>((x * (c + i + 1) + y * 3) % 256);
      });
      fs::create_directories(pictures());
      std::ofstream(pictures() / (name + ".jpg"), std::ios::binary) << make_jpeg(canvas);
    }
    train_to_end(run(), {"stream.only=[0,2]"});
  }
  fs::path run() const { return folder_ / "run"; }
  fs::path pictures() const { return folder_ / "pictures"; }
  Arguments predict(const Arguments& pictures) const {
    return Arguments{"predict", run().string(), "--task", "2"} + pictures;
  }
  const TemporaryFolder folder_;
};

TEST_F(Predict, FilesAndFolders) {
  const Outcome outcome = run_program(predict({pictures().string(), "--json"}));
  expect_success(outcome);
  const json result = json::parse(outcome.out);
  ASSERT_EQ(result.at("pictures").size(), 3U);
  for (const json& picture : result.at("pictures")) {
    const json& all = picture.at("probabilities");
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(picture.at("label"), all[0].at("label"));
    EXPECT_GE(all[0].at("probability"), all[1].at("probability"));
    EXPECT_NEAR(all[0].at("probability").get<double>() + all[1].at("probability").get<double>(), 1,
                1e-9);
  }
  // One by one, by the task's name, the answers are the same to the bit.
  const std::string name = result.at("name");
  const Outcome single = run_program({"predict", run().string(), "--task", name, "--json",
                                      (pictures() / "picture1.jpg").string()});
  expect_success(single);
  EXPECT_EQ(json::parse(single.out).at("pictures")[0], result.at("pictures")[1]);
}

TEST_F(Predict, Tables) {
  const Outcome outcome = run_program(predict({pictures().string(), "--top", "2"}));
  expect_success(outcome);
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '%'), 6);
  EXPECT_NE(outcome.out.find("picture2.jpg"), std::string::npos) << outcome.out;
}

TEST_F(Predict, ABadPictureStopsNoOther) {
  std::ofstream(pictures() / "picture1.jpg") << "no picture";
  const Outcome outcome = run_program(predict({pictures().string(), "--json"}));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("picture1.jpg"), std::string::npos) << outcome.err;
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result.at("pictures").size(), 2U);
  EXPECT_EQ(result.at("failures").size(), 1U);
}

TEST_F(Predict, WhatCannotBe) {
  const std::string picture = (pictures() / "picture0.jpg").string();
  expect_refused({"predict", run().string(), "--task", "9", picture}, 2, {"no task \"9\""});
  expect_refused(predict({(folder_ / "run").string()}), 2, {"no picture in the folder"});
  const Outcome missing = run_program(predict({(folder_ / "none.jpg").string()}));
  EXPECT_EQ(missing.status, 1);
  EXPECT_NE(missing.err.find("none.jpg"), std::string::npos) << missing.err;
  fs::remove(run() / "model.safetensors");
  expect_refused(predict({picture}), 2, {"not finished", "--resume"});
}

}  // namespace
}  // namespace cmat::test
