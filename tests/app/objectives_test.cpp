// Every objective trains under every method, and what a method promises holds under each of them.
#include <gtest/gtest.h>

#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

/// Two steps a task.
Arguments two_steps() {
  return {"data.synthetic.train_per_class=4",
          "optimizer.batch=4",
          "compact.epochs=1",
          "data.validation=0.0",
          "stream.only=[0,1]",
          "objective.free_replays=2"};
}

class ObjectiveGrid : public testing::TestWithParam<std::string> {};

TEST_P(ObjectiveGrid, TrainsAndForgetsNothing) {
  TemporaryFolder folder;
  for (const std::string objective :
       {"standard", "pgd-at", "free", "fast", "trades", "mart", "anp-vs", "pgd-at+awp"}) {
    SCOPED_TRACE(objective);
    const bool awp = objective.ends_with("+awp");
    const fs::path run = folder / objective;
    train_to_end(
        run, two_steps() + Arguments{"method.name=" + GetParam(),
                                     "objective.name=" + objective.substr(0, objective.find('+')),
                                     std::string("objective.awp=") + (awp ? "0.01" : "0")});
    const json results = read_json(run / "results.json");
    EXPECT_EQ(results.at("tasks").size(), 2U);
    EXPECT_GT(results.at("images_backward").get<std::int64_t>(), 0);
    if (GetParam() == "finetune") continue;  // forgets, and says so
    const Outcome proof = run_program({"verify", run.string(), "--json", "--threads", "1"});
    EXPECT_EQ(json::parse(proof.out).at("identical"), true) << proof.err;
  }
}

TEST(AsPublished, TrainsMeasuresAndLabelsARun) {
  TemporaryFolder folder;
  const Arguments changes =
      two_steps() + Arguments{"threat.model=as-published",   "threat.eps=2/255",
                              "objective.attack_mode=train", "network.mean=[0.5,0.4,0.45]",
                              "network.std=[0.25,0.2,0.3]",  "evaluation.steps=7"};
  const fs::path run = folder / "run";
  train_to_end(run, changes);
  const json results = read_json(run / "results.json");
  EXPECT_EQ(results.at("protocol"), "as-published");
  EXPECT_EQ(results.at("threat_model").at("norm"), "as-published");
  EXPECT_EQ(results.at("threat_model").at("eps"), "0.00784314 (2/255) normalised");
  EXPECT_EQ(results.at("attacks")[1].at("name"), "as-published");
  // The evaluation of that name is that of the run.
  const Outcome outcome = run_program(
      {"eval", run.string(), "--as-published", "--threads", "1", "--json", "--tasks", "2"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json again = json::parse(outcome.out);
  EXPECT_EQ(again.at("protocol"), results.at("protocol"));
  EXPECT_EQ(again.at("threat_model"), results.at("threat_model"));
  int found = 0;
  for (const json& row : results.at("evaluations")) {
    if (row.at("after") != 2 || row.at("task") != 2 || row.at("attack") != "as-published") continue;
    ++found;
    EXPECT_EQ(row.at("correct"), again["evaluations"][1].at("correct"));
  }
  EXPECT_EQ(found, 1);
  EXPECT_NE(run_program({"show", run.string()}).out.find("as-published"), std::string::npos);
  const fs::path page = folder / "page";
  expect_success(run_program({"report", run.string(), "-o", page.string()}));
  EXPECT_NE(read_file(page / "index.html").find("as-published, eps 0.00784314 (2/255) normalised"),
            std::string::npos);
  // An honest number needs a radius in pixels.
  const Outcome refused = run_program({"eval", run.string(), "--threads", "1"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("--as-published"), std::string::npos) << refused.err;
  const Outcome honest = run_program({"eval", run.string(), "--threads", "1", "--json", "--eps",
                                      "8/255", "--attack", "bim5", "--no-checks", "--tasks", "1"});
  ASSERT_EQ(honest.status, 0) << honest.err;
  EXPECT_EQ(json::parse(honest.out).at("threat_model").at("norm"), "linf");
  EXPECT_EQ(json::parse(honest.out).at("protocol"), "task-aware");
}

TEST(AsPublished, AKilledRunEndsAsIfNothingHadHappened) {
  TemporaryFolder folder;
  const Arguments changes = {"threat.model=as-published", "threat.eps=2/255",
                             "checkpoint.every_steps=1",  "data.synthetic.train_per_class=8",
                             "optimizer.batch=4",         "stream.only=[0]",
                             "method.select=best"};
  train_to_end(folder / "undisturbed", changes);
  const fs::path run = folder / "killed";
  Program program(train_tiny(run, changes));
  ASSERT_TRUE(program.send_when(SIGKILL, checkpoints_written(run, 3)));
  program.wait();
  expect_success(run_program(train_tiny(run, changes) + Arguments{"--resume"}));
  expect_same_end(run, folder / "undisturbed");
}

INSTANTIATE_TEST_SUITE_P(Methods, ObjectiveGrid,
                         testing::Values("cmat", "packnet", "pae", "piggyback", "individual",
                                         "finetune", "joint"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace cmat::test
