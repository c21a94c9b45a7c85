// Runs that grow: what the records say, and that old tasks are untouched by it.
#include <gtest/gtest.h>

#include <algorithm>

#include "app/expect_refused.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

std::vector<json> named(const fs::path& run, const std::string& event) {
  std::vector<json> list;
  for (const json& e : events_of(run)) {
    if (e.at("event") == event) list.push_back(e);
  }
  return list;
}

TEST(Growth, IsRecordedAndForgetsNothing) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  const Outcome outcome = run_program(train_tiny(run, growing()));
  expect_success(outcome);
  EXPECT_NE(outcome.err.find("grows from width 0.5 to 1"), std::string::npos) << outcome.err;
  // Every task asks for all of its validation images, which none gets: as wide as allowed, unless
  // a growth brought nothing.
  const std::vector<json> commits = named(run, "commit");
  ASSERT_EQ(commits.size(), 3U);
  double width = 0.5;
  for (const json& commit : commits) {
    EXPECT_GE(commit.at("width"), width);
    width = commit.at("width");
  }
  EXPECT_GT(width, 0.5);
  EXPECT_LE(width, 2);
  const json begun = named(run, "begin_task").front();
  EXPECT_EQ(begun.at("width"), 0.5);
  const json results = read_json(run / "results.json");
  EXPECT_EQ(results.at("width"), width);
  EXPECT_EQ(results.at("weights").back().at("width"), width);
  EXPECT_GT(results.at("weights").back().at("total"), begun.at("free_weights"));
  EXPECT_EQ(results.at("summary").at("clean").at("forgetting"), 0);

  const Outcome verified = run_program({"verify", run.string(), "--json"});
  expect_success(verified);
  const json proof = json::parse(verified.out);
  EXPECT_TRUE(proof.at("identical"));
  for (const json& task : proof.at("tasks")) EXPECT_TRUE(task.at("logits_identical"));
  expect_success(run_program({"eval", run.string(), "--attack", "pgd3", "--limit", "4"}));
}

/// A branch goes back to the width of the day, and grows again as the full run did.
TEST(Growth, ABranchGrowsAgain) {
  TemporaryFolder folder;
  const fs::path full = folder / "full", branch = folder / "branch";
  train_to_end(full, growing());
  train_to_end(branch, growing(), {"--from", full.string() + "@1"});
  EXPECT_TRUE(read_file(full / "model.safetensors") == read_file(branch / "model.safetensors"));
  EXPECT_EQ(read_json(full / "results.json").at("weights"),
            read_json(branch / "results.json").at("weights"));
}

TEST(Growth, GoalsOfAnotherRun) {
  TemporaryFolder folder;
  const fs::path goals = folder / "goals", run = folder / "run", copy = folder / "copy";
  train_to_end(goals, {"method.name=individual"});
  Arguments assignments = growing();
  std::replace(assignments.begin(), assignments.end(), std::string("growth.goals=[1.0]"),
               "growth.goal_run=" + goals.string());
  train_to_end(run, assignments);
  // The goals are part of the run: it goes on when the other folder is gone.
  Program program(train_tiny(copy, assignments + Arguments{"checkpoint.every_steps=1"}));
  program.send_when(SIGINT, [&] { return fs::exists(copy / "run.json"); });
  program.wait();
  fs::remove_all(goals);
  expect_success(run_program({"train", copy.string(), "--resume"}));
  EXPECT_EQ(read_json(run / "results.json").at("evaluations"),
            read_json(copy / "results.json").at("evaluations"));
}

TEST(Growth, WhatCannotBe) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  const auto refuse = [&](const Arguments& assignments, const std::vector<std::string>& words) {
    expect_refused(train_tiny(run, assignments), 2, words);
    EXPECT_FALSE(fs::exists(run));
  };
  const Arguments common = {"train.epochs=1", "growth.max_width=2"};
  refuse(common + Arguments{"growth.goals=[0.5,0.5]"}, {"growth.goals", "3 tasks"});
  refuse({"train.epochs=1", "growth.max_width=0.25", "growth.min_free=0.5"},
         {"growth.max_width", "network.width"});
  refuse(common + Arguments{"growth.goal_run=" + (folder / "none").string()}, {"not a run folder"});
  const fs::path goals = folder / "goals";
  train_to_end(goals, {"stream.only=[0]"});
  refuse(common + Arguments{"growth.goal_run=" + goals.string()}, {"growth.goal_run", "goals"});
}

}  // namespace
}  // namespace cmat::test
