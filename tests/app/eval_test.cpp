// cmat eval measures what the run measured, and more if asked.
#include <gtest/gtest.h>

#include <algorithm>

#include "app/eval_fixture.h"
#include "app/expect_refused.h"

namespace cmat::test {
namespace {

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

/// The rows of a list that have these values.
std::vector<json> rows_with(const json& list, const json& values) {
  std::vector<json> found;
  for (const json& row : list) {
    bool same = true;
    for (const auto& [key, value] : values.items()) same = same && row.at(key) == value;
    if (same) found.push_back(row);
  }
  return found;
}

/// Right answers of a verdict row, image by image.
std::vector<bool> right_of(const json& verdicts) {
  std::vector<bool> right;
  for (std::size_t i = 0; i < verdicts.at("labels").size(); ++i)
    right.push_back(verdicts.at("labels")[i] == verdicts.at("predictions")[i]);
  return right;
}

TEST_F(Eval, DefaultIsTheWorstCaseOfTwoStrongAttacks) {
  const json result = eval({"--limit", "10", "--tasks", "1-2"});
  EXPECT_EQ(result.at("threat_models").size(), 1u);
  EXPECT_EQ(result.at("threat_models")[0], result.at("threat_model"));
  ASSERT_EQ(result.at("evaluations").size(), 6u);
  ASSERT_EQ(result.at("verdicts").size(), 6u);
  ASSERT_EQ(result.at("worst_case").size(), 2u);
  for (std::size_t i = 0; i < 6; ++i) {
    const json &row = result["evaluations"][i], &verdicts = result["verdicts"][i];
    SCOPED_TRACE(row.dump());
    EXPECT_EQ(row.at("attack"), (Arguments{"clean", "apgd-ce", "apgd-t"})[i % 3]);
    for (const char* key : {"task", "attack", "eps_pixels"})
      EXPECT_EQ(row.at(key), verdicts.at(key));
    const std::vector<bool> right = right_of(verdicts);
    EXPECT_EQ(row.at("correct"), std::count(right.begin(), right.end(), true));
    EXPECT_EQ(verdicts.at("images").size(), 10u);
    EXPECT_EQ(row.at("backwards") == 0, row.at("attack") == "clean");
    EXPECT_GE(row.at("forwards").get<double>(), 1);
  }
  for (const json& worst : result.at("worst_case")) {
    std::vector<bool> left(10, true);
    for (const json& verdicts : rows_with(result.at("verdicts"), {{"task", worst.at("task")}})) {
      const std::vector<bool> right = right_of(verdicts);
      for (std::size_t i = 0; i < 10; ++i) left[i] = left[i] && right[i];
    }
    EXPECT_EQ(worst.at("correct"), std::count(left.begin(), left.end(), true));
    EXPECT_EQ(worst.at("attacks"), (json{"apgd-ce", "apgd-t"}));
  }
  const auto means = rows_with(result.at("averages"), {{"attack", "worst case"}});
  ASSERT_EQ(means.size(), 1u);
  EXPECT_DOUBLE_EQ(means[0].at("accuracy").get<double>(),
                   (result["worst_case"][0].at("accuracy").get<double>() +
                    result["worst_case"][1].at("accuracy").get<double>()) /
                       2);
  EXPECT_EQ(means[0].at("tasks"), 2);
}

TEST_F(Eval, SeveralRadii) {
  const Arguments asked = {"--attack", "pgd3,square20", "--eps", "1/255,1.0", "--limit",
                           "10",       "--tasks",       "1"};
  const json result = eval(asked);
  // Clean images were not asked for, but count in the worst case.
  ASSERT_EQ(result.at("evaluations").size(), 4u);
  ASSERT_EQ(result.at("worst_case").size(), 2u);
  ASSERT_EQ(result.at("averages").size(), 6u);
  EXPECT_FALSE(result.contains("threat_model"));
  EXPECT_FALSE(result.contains("means"));
  for (std::size_t radius : {0, 1}) {
    const json& eps = result.at("threat_models")[radius].at("eps_pixels");
    EXPECT_DOUBLE_EQ(eps.get<double>(), radius == 0 ? 1.0 / 255 : 1.0);
    EXPECT_EQ(rows_with(result.at("evaluations"), {{"eps_pixels", eps}}).size(), 2u);
    for (const json& row : rows_with(result.at("evaluations"), {{"eps_pixels", eps}}))
      EXPECT_LE(result["worst_case"][radius].at("correct"), row.at("correct"));
  }
  EXPECT_EQ(result.at("threat_models")[1].at("eps"), "1 (255/255)");
  // Two attacks over the radii, and Square against PGD at each radius.
  EXPECT_EQ(rows_with(result.at("checks"), {{"check", "accuracy-rises"}}).size(), 2u);
  EXPECT_EQ(rows_with(result.at("checks"), {{"check", "black-box"}}).size(), 2u);
  const Outcome table = run_program(Arguments{"eval", run().string(), "--threads", "1"} + asked);
  EXPECT_EQ(table.status, 0) << table.err;
  for (const char* part : {"worst case", "linf eps 0.00392157 (1/255), 1 (255/255)",
                           "mean over tasks, pgd3 at eps 1 (255/255): ", "does not rise with eps"})
    EXPECT_NE(table.out.find(part), std::string::npos) << part << " is not in\n" << table.out;
}

TEST_F(Eval, AutoAttackIsNamedByWhatRan) {
  // At this radius the first attack breaks every image, so that the rest costs nothing.
  const json result =
      eval({"--attack", "autoattack", "--eps", "1.0", "--limit", "4", "--tasks", "1"});
  ASSERT_EQ(result.at("evaluations").size(), 1u);
  const json& row = result["evaluations"][0];
  EXPECT_EQ(row.at("attack"), "AA-standard[C=2,t=1]");
  EXPECT_EQ(row.at("correct"), 0);
  ASSERT_EQ(row.at("parts").size(), 4u);
  EXPECT_EQ(row["parts"][0].at("broken"), row["parts"][0].at("attacked"));
  EXPECT_EQ(row["parts"][3].at("attacked"), 0);
  EXPECT_TRUE(result.at("means").contains("AA-standard[C=2,t=1]"));
  EXPECT_EQ(rows_with(result.at("checks"), {{"check", "black-box"}, {"raised", false}}).size(), 1u);
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

TEST_F(Eval, ClassIncrementalHasTheHeadsOfAllTasks) {
  const Arguments asked = {"--attack", "clean,bim5", "--limit", "10"};
  const json known = eval(asked),
             unknown = eval(asked + Arguments{"--protocol", "class-incremental"});
  EXPECT_EQ(unknown.at("protocol"), "class-incremental");
  ASSERT_EQ(unknown.at("evaluations").size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    const json &row = unknown["evaluations"][i], &verdicts = unknown["verdicts"][i];
    EXPECT_DOUBLE_EQ(row.at("chance").get<double>(), 1.0 / 6);
    EXPECT_EQ(row.at("task"), known["evaluations"][i].at("task"));
    // Labels count over all tasks; with more answers to choose from no clean image is more often
    // right.
    for (const json& label : verdicts.at("labels"))
      EXPECT_EQ(label.get<int>() / 2 + 1, row.at("task").get<int>());
    if (i % 2 == 0) {
      EXPECT_LE(row.at("correct"), known["evaluations"][i].at("correct"));
    }
  }
  refuse({"--protocol", "class-aware"}, {"--protocol", "class-aware"});
}

TEST_F(Eval, TargetsCountWhatTheJudgeCounts) {
  const Arguments asked = {"--attack", "clean,bim5,apgd-t5", "--limit", "10"};
  const json next = eval(asked + Arguments{"--targets", "next", "--protocol", "class-incremental"});
  EXPECT_EQ(next.at("protocol"), "class-incremental-targeted");
  for (const json& verdicts : next.at("verdicts")) {
    for (std::size_t i = 0; i < verdicts.at("labels").size(); ++i) {
      EXPECT_EQ(verdicts["targets"][i].get<int>(), (verdicts["labels"][i].get<int>() + 1) % 6);
    }
  }
  std::int64_t best = 0;
  for (std::size_t i = 0; i < next.at("evaluations").size(); ++i) {
    const json &row = next["evaluations"][i], &verdicts = next["verdicts"][i];
    std::int64_t reached = 0;
    for (std::size_t k = 0; k < verdicts.at("labels").size(); ++k)
      reached += verdicts["targets"][k] == verdicts["predictions"][k];
    EXPECT_EQ(row.at("reached"), reached);
    // With six classes a third one may come first.
    EXPECT_LE(reached + row.at("correct").get<std::int64_t>(), row.at("total"));
    if (row.at("task") == 1) best = std::max(best, reached);
  }
  EXPECT_GE(next["worst_case"][0].at("reached").get<std::int64_t>(), best);
  EXPECT_TRUE(next["averages"][1].contains("success_interval"));
  const Arguments quick = {"--attack", "bim5", "--limit", "10", "--no-checks", "--targets"};
  const json one = eval(quick + Arguments{"1"});
  EXPECT_EQ(one.at("targets").at("left_out"), 3 * 5);
  EXPECT_EQ(one["evaluations"][0].at("total"), 5);
  const json joint = eval(quick + Arguments{"5", "--protocol", "class-incremental"});
  EXPECT_EQ(joint.at("targets").at("left_out"), 5);
  refuse({"--targets", "2"}, {"--targets 2", "task 1", "classes 0 to 1"});
  refuse({"--targets", "6", "--protocol", "class-incremental"}, {"--targets 6", "classes 0 to 5"});
  refuse({"--targets", "cat"}, {"--targets", "\"next\"", "\"cat\""});
  refuse({"--targets", "next", "--attack", "deepfool"}, {"\"deepfool\" cannot be sent", "fab"});
  refuse({"--targets", "next", "--protocol", "transfer", "--source", "tasks"}, {"--targets"});
  refuse({"--targets", "next", "--as-published"}, {"--as-published", "--targets"});
}

TEST_F(Eval, TransferFromTheTasksBeforeFromFilesAndFromRuns) {
  const Arguments few = {"--attack", "pgd5", "--limit", "10"};
  const json cross = eval(few + Arguments{"--protocol", "transfer", "--source", "tasks"});
  EXPECT_EQ(cross.at("protocol"), "transfer");
  ASSERT_EQ(cross.at("evaluations").size(), 2u);  // task 1 has no task before it
  const json& last = cross["evaluations"][1];
  EXPECT_EQ(last.at("task"), 3);
  ASSERT_EQ(last.at("sources").size(), 2u);
  EXPECT_EQ(last["sources"][1].at("source"), "task 2");
  for (const json& source : last.at("sources")) EXPECT_LE(last.at("correct"), source.at("correct"));
  EXPECT_EQ(rows_with(cross.at("checks"), {{"check", "transfer"}}).size(), 1u);

  // Examples of this very network, judged by it, are what the attack itself found.
  const fs::path file = *folder_ / "adversarial.safetensors";
  const json own = eval(few + Arguments{"--save-adversarial", file.string()});
  const json stored = eval(few + Arguments{"--protocol", "transfer", "--source", file.string()});
  ASSERT_EQ(stored.at("evaluations").size(), 3u);
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_EQ(stored["evaluations"][t].at("attack"), "stored(pgd5)");
    EXPECT_EQ(stored["verdicts"][t].at("predictions"), own["verdicts"][t].at("predictions"));
  }
  const Outcome nearer =
      run_program(Arguments{"eval", run().string(), "--threads", "1", "--protocol", "transfer",
                            "--source", file.string(), "--eps", "1/255"} +
                  few);
  expect_error_line(nearer, 2, {"further than eps"}, /*after_others=*/true);
  const json self = eval(few + Arguments{"--protocol", "transfer", "--source", run().string()});
  EXPECT_EQ(rows_with(self.at("checks"), {{"check", "transfer"}, {"raised", false}}).size(), 1u);
  refuse(few + Arguments{"--protocol", "transfer"}, {"--source"});
  refuse(few + Arguments{"--source", "tasks"}, {"--source", "transfer"});
  refuse(few + Arguments{"--protocol", "transfer", "--source", "none"}, {"none", "neither"});
}

TEST_F(Eval, UnknownAttacks) {
  for (const char* name : {"frob", "pgd-3", "pgd5x", "pgd5y2", "PGD5", "cleaned"}) {
    refuse({"--attack", std::string("clean,") + name},
           {"no attack \"" + std::string(name) + "\"", "pgd20x2"});
  }
  refuse({"--attack", "pgd0"}, {"\"pgd0\"", "1 to 1000000"});
  refuse({"--attack", "autoattack7"}, {"\"autoattack\"", "no number of steps"});
  refuse({"--attack", "cw"}, {"\"cw\" does not work in linf", "apgd-ce"});
  refuse({"--attack", ","}, {"--attack names no attack"});
  refuse({"--attack", "fgsm,clean,fgsm"}, {"--attack", "\"fgsm\" twice"});
}

TEST_F(Eval, BadRadiusAndNorm) {
  refuse({"--eps", "8"}, {"--eps", "did you mean \"8/255\"?"});
  refuse({"--eps", "eight"}, {"--eps", "eight"});
  refuse({"--eps", "4/255,eight"}, {"--eps", "eight"});
  refuse({"--eps", ","}, {"--eps names no radius"});
  refuse({"--eps", "0"}, {"apgd-ce", "above 0", "--eps"});
  refuse({"--eps", "8/255,16/510"}, {"--eps", "(8/255) twice"});
  refuse({"--norm", "l7"}, {"--norm", "l7"});
  refuse({"--norm", "l2"}, {"--norm l2 needs --eps"});
}

TEST_F(Eval, BadTasks) {
  refuse({"--tasks", "9"}, {"task 9", "tasks 1 to 3"});
  refuse({"--tasks", "0"}, {"--tasks", "\"0\""});
  refuse({"--tasks", "-9999999999-5"}, {"--tasks", "-9999999999-5"});
  refuse({"--tasks", "a-b"}, {"--tasks", "a-b"});
  refuse({"--tasks", "3-1"}, {"--tasks", "3-1"});
  refuse({"--tasks", "1-99999999999999999999"}, {"--tasks"});
  refuse({"--tasks", "1-"}, {"--tasks", "1-"});
  refuse({"--tasks", "1-2,2"}, {"--tasks", "task 2 twice"});
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
