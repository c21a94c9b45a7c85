// Help, and the reports of cmat show.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

TEST(Cli, HelpIsThere) {
  const std::vector<Arguments> calls = {
      {},          {"train"}, {"eval"},          {"verify"},       {"show"},
      {"inspect"}, {"bench"}, {"bench", "step"}, {"export"},       {"predict"},
      {"add"},     {"data"},  {"data", "fetch"}, {"data", "info"}, {"data", "list"}};
  for (const Arguments& call : calls) {
    const Outcome outcome = run_program(call + Arguments{"--help"});
    SCOPED_TRACE(::testing::PrintToString(call));
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("--help"), std::string::npos) << outcome.out;
  }
}

TEST(Cli, DataList) {
  const Outcome outcome = run_program({"data", "list"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.out.find("cifar100"), std::string::npos) << outcome.out;
}

TEST(Cli, ShowOneRunAndTwo) {
  TemporaryFolder folder;
  const std::string a = (folder / "a").string(), b = (folder / "b").string();
  train_to_end(a);
  train_to_end(b, {"method.name=packnet"});

  Outcome outcome = run_program({"show", a});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("finished, 3 tasks learned"), std::string::npos) << outcome.out;

  outcome = run_program({"show", a, b, "--matrices"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* word : {"cmat", "packnet"}) {
    EXPECT_NE(outcome.out.find(word), std::string::npos) << outcome.out;
  }

  outcome = run_program({"show", a, "--json", "--events", "2"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const json one = json::parse(outcome.out);
  EXPECT_EQ(one.at("folder"), a);
  EXPECT_EQ(one.at("run"), read_json(folder / "a" / "run.json"));
  EXPECT_EQ(one.at("results"), read_json(folder / "a" / "results.json"));
  EXPECT_EQ(one.at("events").size(), 2u);
  EXPECT_EQ(one.at("events").back().at("event"), "finished");

  outcome = run_program({"show", a, b, "--json"});
  const json both = json::parse(outcome.out);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[1].at("results").at("method"), "packnet");
}

TEST(Cli, TrainEndsWithTheReportAndTheNextCommand) {
  TemporaryFolder folder;
  const Outcome outcome = run_program(train_tiny(folder / "run"));
  expect_success(outcome);
  EXPECT_NE(outcome.out.find("cmat verify " + (folder / "run").string()), std::string::npos)
      << outcome.out;
}

}  // namespace
}  // namespace cmat::test
