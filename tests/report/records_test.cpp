#include "cmat/report/records.h"

#include <gtest/gtest.h>

#include "report/sample_run.h"

namespace cmat::report {
namespace {

using test::message_of;
using ::testing::Test;

class RecordsTest : public Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path run_ = folder_.path() / "run.json";
  std::filesystem::path results_ = folder_.path() / "results.json";
  std::filesystem::path events_ = folder_.path() / "events.jsonl";

  std::string complaint() {
    return message_of([&] { read_records(folder_.path()); });
  }
};

void expect_contains(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos)
      << "\"" << message << "\" lacks \"" << part << "\"";
}

TEST_F(RecordsTest, ReadsWhatIsThere) {
  test::write(run_, test::sample_run_json().dump());
  test::write(results_, test::sample_results_json().dump());
  const Records records = read_records(folder_.path());
  EXPECT_EQ(records.folder, folder_.path());
  EXPECT_EQ(records.run, test::sample_run_json());
  EXPECT_EQ(records.results, test::sample_results_json());
}

TEST_F(RecordsTest, ResultsMayNotBeThereYet) {
  test::write(run_, test::sample_run_json().dump());
  EXPECT_TRUE(read_records(folder_.path()).results.is_null());
}

TEST_F(RecordsTest, SaysWhatIsNotARun) {
  const auto nowhere = folder_.path() / "nowhere";
  expect_contains(message_of([&] { read_records(nowhere); }),
                  "there is no folder " + nowhere.string());
  expect_contains(complaint(), "is not a run of CMAT: it holds no run.json");
  test::write(run_, R"({"name": "another program's"})");
  expect_contains(complaint(), "was not written by CMAT");
  try {
    read_records(folder_.path());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
}

TEST_F(RecordsTest, RefusesAnotherVersion) {
  test::write(run_, R"({"format": 2})");
  expect_contains(complaint(), "run format 2");
  test::write(run_, R"({"format": 1})");
  test::write(results_, R"({"format": 7})");
  expect_contains(complaint(), "results.json has run format 7");
}

TEST_F(RecordsTest, SaysWhichFileIsDamaged) {
  for (const char* damaged :
       {"", "{\"format\": 1", "{\"format\": 1}}", "\xFF\xFE", "[1]", "null"}) {
    SCOPED_TRACE(damaged);
    test::write(run_, damaged);
    expect_contains(complaint(), "run.json is damaged");
  }
  test::write(run_, R"({"format": 1})");
  test::write(results_, "{");
  expect_contains(complaint(), "results.json is damaged");
  EXPECT_EQ(complaint().find('\n'), std::string::npos);
}

TEST_F(RecordsTest, DeeplyNestedGarbageIsOnlyDamage) {
  test::write(run_, std::string(200000, '['));
  expect_contains(complaint(), "run.json is damaged");
}

TEST_F(RecordsTest, LastEvents) {
  EXPECT_TRUE(read_events(folder_.path(), 3).empty());
  test::write(events_, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  const auto two = read_events(folder_.path(), 2);
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].at("n"), 2);
  EXPECT_EQ(two[1].at("n"), 3);
  EXPECT_EQ(read_events(folder_.path(), 99).size(), 3U);
  EXPECT_TRUE(read_events(folder_.path(), 0).empty());
}

TEST_F(RecordsTest, ATornLastEventIsIgnoredButDamageIsNot) {
  test::write(events_, "{\"n\":1}\n{\"n\":2}\n{\"n\":");
  const auto events = read_events(folder_.path(), 5);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[1].at("n"), 2);
  test::write(events_, "{\"n\":1}\n{\"n\n{\"n\":3}\n");
  EXPECT_EQ(read_events(folder_.path(), 1).size(), 1U);
  expect_contains(message_of([&] { read_events(folder_.path(), 5); }), "line 2 ");
  test::write(events_, "{\"n\":1}\n{\"n\":\n");
  expect_contains(message_of([&] { read_events(folder_.path(), 5); }), "line 2 ");
}

}  // namespace
}  // namespace cmat::report
