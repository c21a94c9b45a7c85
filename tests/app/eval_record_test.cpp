// What cmat eval keeps: records, and what goes on after an interruption.
#include <algorithm>
#include <sstream>

#include "app/eval_fixture.h"
#include "cmat/core/error.h"

namespace cmat::test {
namespace {

class EvalRecord : public Eval {};

std::ptrdiff_t file_count(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST_F(EvalRecord, KeepsItsRecordUnderANameThatSaysWhatRan) {
  const Arguments asked = {"--attack", "clean,bim3", "--limit", "4", "--save"};
  const json result = eval(asked);
  const fs::path file = run() / "evaluations" / "task-aware-linf-eps8of255-clean+bim3-n4.json";
  ASSERT_TRUE(fs::exists(file));
  EXPECT_EQ(read_json(file), result);
  EXPECT_EQ(result.at("verdicts")[1].at("predictions").size(), 4u);
  EXPECT_FALSE(fs::exists(fs::path(file).replace_extension(".partial")));
  const fs::path grid = *folder_ / "some.svg";
  eval(asked + Arguments{"--grid", grid.string()});
  EXPECT_EQ(read_file(fs::path(file).replace_extension(".png")).substr(1, 3), "PNG");
}

/// A report shows them as a command.
TEST_F(EvalRecord, TheOptionsOfARecordAskTheSameAgain) {
  for (const Arguments& asked :
       {Arguments{"--attack", "clean,bim2", "--limit", "4", "--tasks", "1,3", "--targets", "next"},
        Arguments{"--attack", "pgd2", "--curve", "step-size", "--limit", "4", "--no-checks"},
        Arguments{"--protocol", "transfer", "--source", "tasks", "--attack", "pgd2", "--eps",
                  "4/255,8/255", "--limit", "4"},
        Arguments{"--as-published", "--limit", "4"}}) {
    const json first = eval(asked + Arguments{"--save"});
    Arguments again;
    std::istringstream words(first.at("options").get<std::string>());
    for (std::string word; words >> word;) again.push_back(word);
    const std::size_t records = file_count(run() / "evaluations");
    const json second = eval(again);
    EXPECT_EQ(file_count(run() / "evaluations"), records) << first.at("options");
    EXPECT_EQ(second.at("verdicts"), first.at("verdicts"));
    EXPECT_EQ(second.at("options"), first.at("options"));
  }
}

TEST_F(EvalRecord, CurvesStandInTheReport) {
  for (const char* over : {"eps", "steps", "step-size"}) {
    eval({"--attack", "clean,pgd2", "--curve", over, "--limit", "4", "--no-checks", "--save"});
  }
  const fs::path out = *folder_ / "report";
  EXPECT_EQ(run_program({"report", run().string(), "-o", out.string()}).status, 0);
  const std::string page = read_file(out / "index.html");
  for (const char* over : {"eps", "steps", "step-size"}) {
    EXPECT_TRUE(fs::exists(out / "figures" / text("accuracy-over-", over, ".svg"))) << over;
    EXPECT_NE(page.find(text("--curve ", over, " --limit 4 --no-checks --save")), std::string::npos)
        << over;
  }
}

TEST_F(EvalRecord, AnInterruptedEvaluationGoesOn) {
  const Arguments asked = {"--attack", "clean,bim3,square300", "--save"};
  const std::string name = "task-aware-linf-eps8of255-clean+bim3+square300";
  const fs::path file = run() / "evaluations" / (name + ".json"),
                 journal = run() / "evaluations" / (name + ".partial");
  const json whole = eval(asked);
  fs::remove(file);
  Program program(Arguments{"eval", run().string(), "--threads", "1", "--json"} + asked);
  const auto lines = [&] {
    if (!fs::exists(journal)) return std::ptrdiff_t{0};
    const std::string content = read_file(journal);
    return std::count(content.begin(), content.end(), '\n');
  };
  ASSERT_TRUE(program.send_when(SIGKILL, [&] { return lines() >= 3; }));
  program.wait();
  ASSERT_TRUE(fs::exists(journal));
  // A verdict that is planted in the journal shows that it is taken up, and not measured again.
  std::string content = read_file(journal);
  const std::size_t at = content.find("\"forwards\":");
  ASSERT_NE(at, std::string::npos);
  content.replace(at, content.find(',', at) - at, "\"forwards\":12345.0");
  write_file_atomic(journal, content + "{\"cut sho");
  const json again = eval(asked);
  EXPECT_FALSE(fs::exists(journal));
  EXPECT_TRUE(fs::exists(file));
  EXPECT_EQ(again.at("verdicts"), whole.at("verdicts"));
  int planted = 0;
  for (const json& row : again.at("evaluations")) planted += row.at("forwards") == 12345.0;
  EXPECT_EQ(planted, 1);
}

}  // namespace
}  // namespace cmat::test
