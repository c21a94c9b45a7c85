// cmat compare: rows become runs, a failure stays a row's own, and what is done is not done again.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/tiny_run.h"
#include "cmat/core/error.h"

namespace cmat::test {
namespace {

const std::string kPlan = R"(
[evaluation]
attacks = ["clean", "pgd2"]
limit = 40
[statistics]
resamples = 200
[[row]]
name = "cmat"
[[row]]
name = "finetune"
set = ["method.name=finetune"]
published = "50.0"
published_note = "something else"
[[contrast]]
a = "cmat"
b = "finetune"
attack = "pgd2"
)";

/// Two tasks of two epochs, so that a row takes a second.
class Comparing : public testing::Test {
 protected:
  std::string plan(const std::string& more = "") {
    const fs::path file = folder_ / "plan.toml";
    write_file_atomic(
        file,
        text("name = \"small\"\nbase = \"", environment("CMAT_SOURCE_DIR") + "/configs/tiny.toml",
             "\"\nset = [\"compact.epochs=2\", \"stream.only=[0,1]\", \"network.width=0.5\", "
             "\"data.synthetic.train_per_class=20\"]\n",
             kPlan, more));
    return file.string();
  }
  Outcome compare(const std::string& file, const Arguments& more = {}) {
    return run_program(Arguments{"compare", file, "--out", out().string(), "--threads", "1"} +
                       more);
  }
  fs::path out() { return folder_ / "out"; }
  json record() { return json::parse(read_file(out() / "comparison.json")); }

 private:
  TemporaryFolder folder_;
};

TEST_F(Comparing, MakesOneTableAndDoesNothingTwice) {
  const std::string file = plan();
  const Outcome first = compare(file, {"--jobs", "2"});
  ASSERT_EQ(first.status, 0) << first.err;
  for (const char* part : {"cmat", "finetune", "50.0", "something else", "Contrasts", "pgd2"})
    EXPECT_NE(first.out.find(part), std::string::npos) << part << "\n" << first.out;
  const json made = record();
  EXPECT_EQ(made["rows"].size(), 2U);
  EXPECT_EQ(made["table"].size(), 4U);
  EXPECT_EQ(made["contrasts"].size(), 1U);
  for (const json& entry : made["table"]) {
    // The table says what `cmat eval` says of the run.
    const fs::path run = out() / "rows" / (entry["name"].get<std::string>() + "-s1");
    const json said = json::parse(read_file(run / "evaluations" / "compare.json"));
    EXPECT_NEAR(entry["mean"], said["means"][entry["attack"].get<std::string>()], 1e-12);
    EXPECT_TRUE(entry["spread"].is_null());
  }
  const auto when = fs::last_write_time(out() / "rows" / "cmat-s1" / "run.json");
  const Outcome second = compare(file);
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(second.err, "");
  EXPECT_EQ(fs::last_write_time(out() / "rows" / "cmat-s1" / "run.json"), when);
  EXPECT_EQ(record(), made);
}

TEST_F(Comparing, ARowMayBeginWithTheWeightsOfARunOfItsOwn) {
  const std::string file = plan(
      "[[row]]\nname = \"pretrained\"\nset = [\"objective.name=pretrained-at\"]\n"
      "source = [\"stream.only=[2]\", \"method.name=joint\"]\n");
  const Outcome done = compare(file, {"--row", "pretrained-s1"});
  ASSERT_EQ(done.status, 0) << done.err;
  const fs::path run = out() / "rows" / "pretrained-s1", source = run.string() + "-source";
  const json results = json::parse(read_file(run / "results.json"));
  EXPECT_EQ(results["initial_weights"], fs::canonical(source).string() + ", task 1");
  EXPECT_EQ(json::parse(read_file(source / "results.json"))["method"], "joint (oracle, 1 head)");
  // Nothing is trained twice, and another source is another row.
  const auto when = fs::last_write_time(source / "run.json");
  fs::remove(out() / "rows" / "pretrained-s1.json");
  // However the folder is spelled.
  const std::string spelled = (out().parent_path() / "." / "out").string();
  const Outcome again =
      run_program({"compare", file, "--out", spelled, "--threads", "1", "--row", "pretrained-s1"});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(fs::last_write_time(source / "run.json"), when);
  std::string other = read_file(file);
  other.replace(other.find("only=[2]"), 8, "only=[3]");
  write_file_atomic(file, other);
  expect_error_line(compare(file, {"--row", "pretrained-s1"}), 2,
                    {"another \"source\"", "-source"});
  expect_error_line(compare(file, {"--set", "network.file=w.safetensors"}), 2,
                    {"row.3.source", "network.file=w.safetensors"});
}

TEST_F(Comparing, AFailingRowLeavesTheOthersAlone) {
  const std::string file =
      plan("[[row]]\nname = \"broken\"\nset = [\"network.architecture=nonet\"]\n");
  const Outcome first = compare(file);
  EXPECT_EQ(first.status, 1);
  EXPECT_NE(first.out.find("broken-s1 is failed"), std::string::npos) << first.out;
  EXPECT_NE(first.err.find("1 of 3 runs have no result"), std::string::npos) << first.err;
  const json rows = record()["rows"];
  EXPECT_EQ(rows[0]["status"], "done");
  EXPECT_EQ(rows[2]["status"], "failed");
  EXPECT_NE(rows[2]["reason"].get<std::string>().find("nonet"), std::string::npos);
  // Alone, it fails for the same reason.
  const Outcome again = compare(file, {"--row", "broken-s1"});
  EXPECT_EQ(again.status, 2);
  EXPECT_NE(again.err.find("nonet"), std::string::npos);
}

TEST_F(Comparing, ListsOneCommandARun) {
  const std::string file = plan();
  const Outcome list = compare(file, {"--list", "--set", "note=it's"});
  EXPECT_EQ(list.status, 0);
  EXPECT_NE(list.out.find("--set 'note=it'\\''s' --threads 1 --row cmat-s1\n"), std::string::npos)
      << list.out;
  EXPECT_FALSE(fs::exists(out()));
  // Done by hand, the runs are there for the table.
  for (const char* run : {"cmat-s1", "finetune-s1"})
    EXPECT_EQ(compare(file, {"--row", run}).status, 0);
  const Outcome table = compare(file);
  EXPECT_EQ(table.status, 0);
  EXPECT_EQ(table.err, "");
}

TEST_F(Comparing, AChangedPlanIsNotMixedWithOldRuns) {
  const std::string file = plan();
  ASSERT_EQ(compare(file, {"--row", "cmat-s1"}).status, 0);
  expect_error_line(compare(file, {"--set", "seed=4"}), 2, {"cmat-s1", "overrides", "--out"});
  expect_error_line(compare(file, {"--row", "cmat-s9"}), 2, {"no run \"cmat-s9\"", "--list"});
}

}  // namespace
}  // namespace cmat::test
