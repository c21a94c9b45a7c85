// --from RUN@N: the tasks after N come out as they would have in RUN.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

Arguments from(const fs::path& run, const std::string& after) {
  return {"--from", run.string() + "@" + after};
}

void expect_same_model(const fs::path& run, const fs::path& other) {
  EXPECT_TRUE(read_file(run / "model.safetensors") == read_file(other / "model.safetensors"));
}

class Branch : public ::testing::TestWithParam<std::string> {};

TEST_P(Branch, EndsAsTheFullRun) {
  TemporaryFolder folder;
  const Arguments all = {"method.name=" + GetParam(), "compact.epochs=3"};
  train_to_end(folder / "full", all);
  for (const char* after : {"1", "2"}) {
    SCOPED_TRACE(after);
    const fs::path run = folder / (std::string("after") + after);
    train_to_end(run, all, from(folder / "full", after));
    expect_same_model(run, folder / "full");
    const json results = read_json(run / "results.json"),
               full = read_json(folder / "full" / "results.json");
    for (const char* field :
         {"evaluations", "matrices", "summary", "per_task", "weights", "bytes"}) {
      EXPECT_EQ(results.at(field), full.at(field)) << field;
    }
    EXPECT_EQ(read_file(run / "verdicts.jsonl"), read_file(folder / "full" / "verdicts.jsonl"));
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Branch, ::testing::Values("cmat", "packnet", "individual", "piggyback"),
                         [](const auto& test) { return test.param; });

TEST(BranchFrom, ARunThatWasKilledInALaterTask) {
  TemporaryFolder folder;
  const Arguments all = {"checkpoint.every_steps=1", "compact.epochs=4"};
  train_to_end(folder / "full", all);
  Program program(train_tiny(folder / "killed", all));
  ASSERT_TRUE(program.send_when(SIGKILL, event_added(folder / "killed", "epoch", 3)));
  program.wait();
  train_to_end(folder / "run", all, from(folder / "killed", "2"));
  expect_same_model(folder / "run", folder / "full");
}

// Its last task is committed, but not measured: the branch makes up for that.
TEST(BranchFrom, ARunThatWasKilledWhileEvaluating) {
  TemporaryFolder folder;
  const Arguments all = {"evaluation.steps=100"};
  train_to_end(folder / "full", all);
  const fs::path killed = folder / "killed";
  Program program(train_tiny(killed, all));
  const Moment committed = event_added(killed, "commit", 2);
  ASSERT_TRUE(program.send_when(SIGTERM, later(committed, 0.002)));
  ASSERT_EQ(program.wait().status, 130);
  ASSERT_EQ(events_of(killed).back().at("event"), "commit");
  train_to_end(folder / "run", all, from(killed, "2"));
  expect_same_model(folder / "run", folder / "full");
  EXPECT_EQ(read_json(folder / "run" / "results.json").at("evaluations"),
            read_json(folder / "full" / "results.json").at("evaluations"));
}

// A branch that is killed before its first step still knows where it came from.
TEST(BranchFrom, IsNotForgottenByAnEarlyKill) {
  TemporaryFolder folder;
  train_to_end(folder / "full");
  const fs::path run = folder / "run";
  Program program(train_tiny(run) + from(folder / "full", "2"));
  ASSERT_TRUE(program.send_when(SIGKILL, [&] { return fs::exists(run / "run.json"); }));
  program.wait();
  expect_success(run_program({"train", run.string(), "--resume", "--threads", "1"}));
  expect_same_model(run, folder / "full");
  EXPECT_EQ(events_of(run).front().at("from"), from(folder / "full", "2").back());
}

TEST(BranchFrom, AnotherMethodThatSharesAlike) {
  TemporaryFolder folder;
  train_to_end(folder / "full");
  train_to_end(folder / "run", {"method.name=packnet"}, from(folder / "full", "2"));
  EXPECT_EQ(run_program({"verify", (folder / "run").string(), "--threads", "1"}).status, 0);
}

class BranchRefusal : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    train_to_end(*folder_ / "full");
    train_to_end(*folder_ / "finetune", {"method.name=finetune"});
  }
  static void TearDownTestSuite() { delete folder_; }

  /// Refused as a wrong call, and nothing is made.
  static void refuse(const std::string& origin, const std::vector<std::string>& parts,
                     const Arguments& assignments = {}) {
    const fs::path out = *folder_ / "out";
    const Arguments call = train_tiny(out, assignments) + Arguments{"--from", origin};
    expect_refused(call, 2, parts);
    EXPECT_FALSE(fs::exists(out));
  }
  static std::string full(const std::string& rest) { return (*folder_ / "full").string() + rest; }

  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(BranchRefusal, OfWordsThatNameNoTask) {
  for (const char* rest : {"", "@", "@two", "@2x", "@2 ", "@99999999999999999999", "@2@"}) {
    refuse(full(rest), {"--from wants RUN@TASK", full(rest)});
  }
  refuse("@2", {"--from wants RUN@TASK"});
}

TEST_F(BranchRefusal, OfTasksThatAreNotThere) {
  refuse(full("@0"), {"3 finished task", "after task 0"});
  refuse(full("@-1"), {"3 finished task", "after task -1"});
  refuse(full("@4"), {"3 finished task", "after task 4"});
  refuse(full("@3"), {"nothing is left to learn after task 3"});
  refuse((*folder_ / "nothing").string() + "@1", {"nothing is not a run folder"});
}

TEST_F(BranchRefusal, OfFineTuning) {
  refuse((*folder_ / "finetune").string() + "@2", {"finetune overwrites", "only its last task (3)"},
         {"method.name=finetune"});
}

TEST_F(BranchRefusal, OfARunThatDoesNotFit) {
  refuse(full("@2"), {"network", "width 1.5"}, {"network.width=1.5"});
  refuse(full("@2"), {"network", "1x8x8"}, {"data.synthetic.channels=1"});
  refuse(full("@2"), {"network", "private_below 1000"}, {"bank.private_below=1000"});
  refuse(full("@2"), {"method (cmat)", "individual"}, {"method.name=individual"});
  refuse(full("@2"), {"task 1 of this config is 2/3", "the run learned 0/1"},
         {"stream.only=[1,0,2]"});
}

// The old tasks' numbers are taken over, so they must mean what the new config says.
TEST_F(BranchRefusal, OfARunThatWasMeasuredOtherwise) {
  refuse(full("@2"), {"was measured with", "64/255"}, {"threat.eps=64/255"});
  refuse(full("@2"), {"was measured with", "7 steps"}, {"evaluation.steps=7"});
  refuse(full("@2"), {"was measured with", "seed 2"}, {"seed=2"});
  refuse(full("@2"), {"other images for task 1"}, {"data.synthetic.test_per_class=9"});
}

}  // namespace
}  // namespace cmat::test
