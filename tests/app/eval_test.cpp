// cmat eval measures what the run measured, and more if asked.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

class Eval : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    // A step that pgd5 would not take by default: the run's attack is more than its name.
    train_to_end(run(), {"evaluation.step=\"1/255\"", "compact.epochs=6"});
  }
  static void TearDownTestSuite() { delete folder_; }

  static fs::path run() { return *folder_ / "run"; }

  static json eval(const Arguments& more) {
    const Outcome outcome =
        run_program(Arguments{"eval", run().string(), "--threads", "1", "--json"} + more);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return json::parse(outcome.out);
  }

  static void refuse(const Arguments& more, const std::vector<std::string>& parts, int status = 2) {
    expect_refused(Arguments{"eval", run().string(), "--threads", "1"} + more, status, parts);
  }

  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(Eval, CleanAndOwnAttackAreThoseOfTheRun) {
  const json results = read_json(run() / "results.json");
  const std::string own = results.at("attacks")[1].at("name");
  const json again = eval({"--attack", "clean," + own});
  ASSERT_EQ(again.at("evaluations").size(), 6u);
  for (const json& row : again.at("evaluations")) {
    SCOPED_TRACE(row.dump());
    int found = 0;
    for (const json& old : results.at("evaluations")) {
      if (old.at("after") != 3 || old.at("task") != row.at("task") ||
          old.at("attack") != row.at("attack"))
        continue;
      ++found;
      EXPECT_EQ(row.at("correct"), old.at("correct"));
      EXPECT_EQ(row.at("total"), old.at("total"));
    }
    EXPECT_EQ(found, 1);
  }
  EXPECT_EQ(again.at("evaluations")[5].at("recipe"), results.at("attacks")[1].at("recipe"));
  EXPECT_EQ(again.at("threat_model"), results.at("threat_model"));
  for (const std::string& attack : {std::string("clean"), own}) {
    EXPECT_DOUBLE_EQ(again.at("means").at(attack).get<double>(),
                     results.at("summary").at(attack).at("average").get<double>());
  }
}

TEST_F(Eval, FieldsOfSeveralAttacks) {
  const json result = eval({"--attack", "clean,fgsm,pgd5x2", "--eps", "4/255", "--limit", "10"});
  EXPECT_EQ(result.at("protocol"), "task-aware");
  EXPECT_EQ(result.at("threat_model").at("norm"), "linf");
  EXPECT_DOUBLE_EQ(result.at("threat_model").at("eps_pixels").get<double>(), 4.0 / 255);
  ASSERT_EQ(result.at("evaluations").size(), 9u);
  for (const json& row : result.at("evaluations")) {
    EXPECT_EQ(row.at("total"), 10);
    EXPECT_DOUBLE_EQ(row.at("accuracy").get<double>(), row.at("correct").get<double>() / 10);
    EXPECT_LE(row.at("interval")[0], row.at("accuracy"));
    EXPECT_GE(row.at("interval")[1], row.at("accuracy"));
    EXPECT_EQ(row.at("chance"), 0.5);
    EXPECT_EQ(row.at("recipe").get<std::string>().empty(), row.at("attack") == "clean");
  }
  EXPECT_EQ(result.at("means").size(), 3u);
  EXPECT_GE(result.at("means").at("clean"), result.at("means").at("pgd5x2"));
}

TEST_F(Eval, TasksNormAndTable) {
  const json result =
      eval({"--attack", "pgd3", "--tasks", "3,1-2", "--norm", "l2", "--eps", "0.5"});
  ASSERT_EQ(result.at("evaluations").size(), 3u);
  EXPECT_EQ(result.at("evaluations")[0].at("task"), 3);
  EXPECT_EQ(result.at("evaluations")[2].at("task"), 2);
  EXPECT_EQ(result.at("threat_model").at("norm"), "l2");
  const Outcome table =
      run_program({"eval", run().string(), "--threads", "1", "--attack", "clean"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_NE(table.out.find("mean over tasks, clean: "), std::string::npos) << table.out;
}

TEST_F(Eval, DrawsAGrid) {
  const fs::path picture = *folder_ / "grid.svg";
  const Outcome outcome = run_program({"eval", run().string(), "--threads", "1", "--attack", "pgd2",
                                       "--limit", "4", "--grid", picture.string()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(read_file(picture).find("<svg") != std::string::npos);
  refuse({"--attack", "clean", "--grid", (*folder_ / "none.svg").string()}, {"need an attack"});
  EXPECT_FALSE(fs::exists(*folder_ / "none.svg"));
}

TEST_F(Eval, LeavesTheRunAsItIs) {
  const std::string record = read_file(run() / "run.json"),
                    events = read_file(run() / "events.jsonl");
  eval({"--attack", "clean"});
  EXPECT_EQ(read_file(run() / "run.json"), record);
  EXPECT_EQ(read_file(run() / "events.jsonl"), events);
}

TEST_F(Eval, UnknownAttacks) {
  for (const char* name :
       {"frob", "pgd", "pgd0", "pgd-3", "pgd5x", "pgd5x0", "pgdx2", "pgd5y2", "PGD5"}) {
    refuse({"--attack", std::string("clean,") + name},
           {"no attack \"" + std::string(name) + "\"", "pgd20x2"});
  }
  refuse({"--attack", ","}, {"--attack names no attack"});
}

TEST_F(Eval, BadRadiusAndNorm) {
  refuse({"--eps", "8"}, {"--eps", "did you mean \"8/255\"?"});
  refuse({"--eps", "eight"}, {"--eps", "eight"});
  refuse({"--norm", "l7"}, {"--norm", "l7"});
}

TEST_F(Eval, BadTasks) {
  refuse({"--tasks", "9"}, {"task 9", "tasks 1 to 3"});
  refuse({"--tasks", "0"}, {"--tasks", "\"0\""});
  refuse({"--tasks", "-9999999999-5"}, {"--tasks", "-9999999999-5"});
  refuse({"--tasks", "a-b"}, {"--tasks", "a-b"});
  refuse({"--tasks", "3-1"}, {"--tasks", "3-1"});
  refuse({"--tasks", "1-99999999999999999999"}, {"--tasks"});
  refuse({"--tasks", "1-"}, {"--tasks", "1-"});
}

TEST(EvalUnfinished, MeasuresTheTasksThatAreThere) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program program(train_tiny(run, {"checkpoint.every_steps=1", "compact.epochs=8"}));
  ASSERT_TRUE(program.send_when(SIGKILL, event_added(run, "epoch", 3)));
  program.wait();
  const Outcome outcome =
      run_program({"eval", run.string(), "--threads", "1", "--json", "--attack", "clean,pgd5"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json result = json::parse(outcome.out), results = read_json(run / "results.json");
  ASSERT_EQ(result.at("evaluations").size(), 4u);
  EXPECT_EQ(result.at("means").at("clean"), results.at("summary").at("clean").at("average"));
  expect_refused({"eval", run.string(), "--tasks", "3"}, 2, {"task 3", "tasks 1 to 2"});
  const Outcome shown = run_program({"show", run.string()});
  EXPECT_EQ(shown.status, 0) << shown.err;
}

}  // namespace
}  // namespace cmat::test
