// A run that is killed, interrupted or finds its newest checkpoint damaged ends as if nothing had
// happened, to the bit.
#include <gtest/gtest.h>

#include <chrono>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

const Arguments every_step = {"checkpoint.every_steps=1"};

/// Kills the run `kills` times, each in another way, resumes it each time, and lets it end at last.
/// Longer evaluations make the instants within one easy to hit.
void expect_kills_change_nothing(const Arguments& assignments, int kills) {
  TemporaryFolder folder;
  const Arguments all = every_step + assignments;
  train_to_end(folder / "undisturbed", all);
  const fs::path run = folder / "killed";
  const Arguments command = train_tiny(run, all) + Arguments{"--resume"};
  int killed = 0;
  for (bool over = false; killed < kills && !over;) {
    Program program(command);
    over = !program.send_when(SIGKILL, kill_moment(run, killed));
    const Outcome outcome = program.wait();
    ASSERT_EQ(outcome.status, over ? 0 : 128 + SIGKILL) << outcome.err;
    if (!over) ++killed;
  }
  EXPECT_GE(killed, kills * 2 / 3) << "the run was over too soon: give it more steps";
  expect_success(run_program(command));
  expect_same_end(run, folder / "undisturbed");
}

TEST(Resume, ManyKills) {
  expect_kills_change_nothing({"compact.epochs=20", "evaluation.steps=40"}, 24);
}

TEST(Resume, KillsOfPackNet) {
  expect_kills_change_nothing({"method.name=packnet", "compact.epochs=10", "evaluation.steps=40"},
                              10);
}

TEST(Resume, KillsOfIndividualNetworks) {
  expect_kills_change_nothing(
      {"method.name=individual", "compact.epochs=10", "evaluation.steps=40"}, 10);
}

TEST(Resume, KillsOfFineTuning) {
  expect_kills_change_nothing({"method.name=finetune", "compact.epochs=10", "evaluation.steps=40"},
                              10);
}

TEST(Resume, KillsOfPiggyback) {
  expect_kills_change_nothing(
      {"method.name=piggyback", "compact.epochs=10", "compact.pick_lr=0.01", "evaluation.steps=40"},
      4);
}

TEST(Resume, KillsOfJointTraining) {
  expect_kills_change_nothing(
      {"method.name=joint", "method.joint_head=tasks", "compact.epochs=10", "evaluation.steps=40"},
      4);
}

TEST(Resume, KillsWithDecisionsOnValidationImages) {
  expect_kills_change_nothing({"method.select=best", "method.compaction=progressive",
                               "method.targets=[0.3,0.6]", "train.epochs=2", "compact.epochs=1",
                               "repick.epochs=1", "data.synthetic.train_per_class=60"},
                              14);
}

// Dropout's masks come from the key of each step, in the attack as well as in the loss.
TEST(Resume, KillsOfANetworkWithDropout) {
  expect_kills_change_nothing(
      {"network.architecture=vgg16_bn", "network.width=0.015625", "network.dropout=0.3",
       "data.synthetic.height=32", "data.synthetic.width=32", "objective.attack_mode=train",
       "compact.epochs=6"},
      8);
}

// The masks' means are in the weights; their parameters, and what the best epoch pruned, in the
// objective.
TEST(Resume, KillsOfChannelMasks) {
  expect_kills_change_nothing({"objective.name=anp-vs", "method.select=best", "compact.epochs=6",
                               "repick.epochs=2", "data.synthetic.train_per_class=40"},
                              6);
}

TEST(Resume, KillsWithoutAveraging) {
  expect_kills_change_nothing({"optimizer.average_decay=0", "compact.epochs=10"}, 8);
}

TEST(Resume, KillsWithBestEpochWithoutAveraging) {
  expect_kills_change_nothing(
      {"optimizer.average_decay=0", "method.select=best", "compact.epochs=8", "train.epochs=4"}, 8);
}

/// The second task finds too little free, and every task misses its goal: both kinds of growth,
/// compaction and repicking are in the killed window.
TEST(Resume, KillsWithGrowth) {
  expect_kills_change_nothing(growing() + Arguments{"data.synthetic.train_per_class=60"}, 14);
}

/// Stops the run with a polite signal at this moment, resumes it, and compares.
void expect_interruption_changes_nothing(int signal, bool while_evaluating) {
  TemporaryFolder folder;
  const Arguments all = {"compact.epochs=8", "evaluation.steps=100"};
  train_to_end(folder / "undisturbed", all);
  const fs::path run = folder / "run";
  Program program(train_tiny(run, all));
  const Moment moment =
      while_evaluating ? event_added(run, "commit", 2) : event_added(run, "epoch", 2);
  ASSERT_TRUE(program.send_when(signal, moment));
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.status, 130);
  const std::string advice = "Continue with: cmat train " + run.string() + " --resume\n";
  EXPECT_TRUE(outcome.err.ends_with(advice)) << outcome.err;
  EXPECT_EQ(read_json(run / "run.json").at("status"), "interrupted");
  EXPECT_FALSE(fs::exists(run / "model.safetensors"));
  expect_success(run_program({"train", run.string(), "--resume", "--threads", "1"}));
  expect_same_end(run, folder / "undisturbed");
}

TEST(Resume, InterruptWhileTraining) { expect_interruption_changes_nothing(SIGINT, false); }
TEST(Resume, InterruptWhileEvaluating) { expect_interruption_changes_nothing(SIGINT, true); }
TEST(Resume, TerminateWhileTraining) { expect_interruption_changes_nothing(SIGTERM, false); }
TEST(Resume, TerminateWhileEvaluating) { expect_interruption_changes_nothing(SIGTERM, true); }

TEST(Resume, OfAFinishedRunChangesNothing) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run);
  const std::string record = read_file(run / "run.json"), events = read_file(run / "events.jsonl");
  expect_success(run_program(train_tiny(run) + Arguments{"--resume"}));
  EXPECT_EQ(read_file(run / "run.json"), record);
  EXPECT_EQ(read_file(run / "events.jsonl"), events);
}

TEST(Resume, BeginsWhereThereIsNoRun) {
  TemporaryFolder folder;
  train_to_end(folder / "run", {}, {"--resume"});
  EXPECT_TRUE(fs::exists(folder / "run" / "model.safetensors"));
}

// What a start leaves that was killed before its run.json is no run yet, and is begun again.
TEST(Resume, AfterAStartThatWasKilledBeforeItsRecord) {
  TemporaryFolder folder;
  train_to_end(folder / "undisturbed");
  const fs::path run = folder / "run";
  fs::create_directories(run / "checkpoint");
  fs::copy_file(folder / "undisturbed" / "config.toml", run / "config.toml");
  write_file_atomic(run / "events.jsonl", "{\"event\":\"start\",\"from\":\"\",\"time\":\"x\"}\n");
  write_file_atomic(run / "results.json", "{}");
  write_file_atomic(run / "checkpoint" / "last.safetensors", "half");
  train_to_end(run, {}, {"--resume"});
  expect_same_end(run, folder / "undisturbed");
}

class DamagedCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    train_to_end(folder_ / "undisturbed", assignments_);
    Program program(train_tiny(run_, assignments_));
    ASSERT_TRUE(program.send_when(SIGKILL, event_added(run_, "epoch", 2)));
    program.wait();
    ASSERT_TRUE(fs::exists(checkpoint("last")) && fs::exists(checkpoint("previous")));
  }

  fs::path checkpoint(const std::string& which) const {
    return run_ / "checkpoint" / (which + ".safetensors");
  }

  /// By a new file: a kill may have left both checkpoints one file with two names.
  void truncate(const std::string& which) {
    const std::string content = read_file(checkpoint(which));
    write_file_atomic(checkpoint(which), content.substr(0, content.size() / 2));
  }

  void flip_bit(const std::string& which) {
    std::string content = read_file(checkpoint(which));
    content[content.size() * 3 / 4] ^= 4;
    write_file_atomic(checkpoint(which), content);
  }

  Outcome resume() { return run_program({"train", run_.string(), "--resume", "--threads", "1"}); }

  void expect_fallback() {
    const Outcome outcome = resume();
    expect_success(outcome);
    const std::size_t warning = outcome.err.find("warning: ");
    ASSERT_NE(warning, std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find("warning: ", warning + 1), std::string::npos) << outcome.err;
    const std::string line = outcome.err.substr(warning, outcome.err.find('\n', warning) - warning);
    EXPECT_NE(line.find("last.safetensors"), std::string::npos) << line;
    EXPECT_NE(line.find("the one before it is taken"), std::string::npos) << line;
    expect_same_end(run_, folder_ / "undisturbed");
  }

  TemporaryFolder folder_;
  const fs::path run_ = folder_ / "run";
  const Arguments assignments_ = every_step + Arguments{"compact.epochs=6"};
};

TEST_F(DamagedCheckpoint, TruncatedFallsBackToThePrevious) {
  truncate("last");
  expect_fallback();
}

TEST_F(DamagedCheckpoint, FlippedBitFallsBackToThePrevious) {
  flip_bit("last");
  expect_fallback();
}

TEST_F(DamagedCheckpoint, MissingFallsBackToThePrevious) {
  fs::remove(checkpoint("last"));
  expect_fallback();
}

// The damaged file must not become the previous one, or a kill before the next is written loses
// all.
TEST_F(DamagedCheckpoint, IsReplacedBeforeTheRunGoesOn) {
  flip_bit("last");
  Program program({"train", run_.string(), "--resume", "--threads", "1"});
  const std::string whole = read_file(checkpoint("previous"));
  ASSERT_TRUE(program.send_when(SIGKILL, [&] { return !fs::exists(checkpoint("previous")); }) ||
              program.wait().status == 0);
  program.wait();
  expect_success(resume());
  expect_same_end(run_, folder_ / "undisturbed");
}

TEST_F(DamagedCheckpoint, BothDamagedIsAFailure) {
  truncate("last");
  flip_bit("previous");
  const std::string events = read_file(run_ / "events.jsonl");
  expect_error_line(resume(), 1, {"neither checkpoint", run_.string(), "restore"});
  EXPECT_EQ(read_file(run_ / "events.jsonl"), events);
}

TEST_F(DamagedCheckpoint, NoneAtAllIsAFailure) {
  fs::remove_all(run_ / "checkpoint");
  expect_error_line(resume(), 1, {"holds neither a finished model nor a checkpoint"});
}

}  // namespace
}  // namespace cmat::test
