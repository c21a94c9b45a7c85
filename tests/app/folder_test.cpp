// Run folders that are taken, in use, edited, of another format or unwritable are left as they are.
#include <gtest/gtest.h>

#include <map>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

/// Every file below the folder with its content.
std::map<std::string, std::string> snapshot(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    // The lock says who used the folder last.
    if (entry.is_regular_file() && entry.path().filename() != "lock") {
      files[entry.path().string()] = read_file(entry.path());
    }
  }
  return files;
}

class RunFolderTest : public ::testing::Test {
 protected:
  void SetUp() override { train_to_end(run_); }

  void refuse(const Arguments& arguments, int status, const std::vector<std::string>& parts) {
    const auto before = snapshot(folder_.path());
    expect_refused(arguments, status, parts);
    EXPECT_TRUE(snapshot(folder_.path()) == before);
  }

  void edit_record(const std::string& field, const json& value) {
    json record = read_json(run_ / "run.json");
    record[field] = value;
    write_file_atomic(run_ / "run.json", record.dump(1));
  }

  TemporaryFolder folder_;
  const fs::path run_ = folder_ / "run";
  const Arguments resume_ = {"train", run_.string(), "--resume", "--threads", "1"};
};

TEST_F(RunFolderTest, IsTaken) {
  refuse(train_tiny(run_), 2, {"there is a run in " + run_.string(), "--resume", "--out"});
  refuse({"train", run_.string()}, 2, {"there is a run in " + run_.string()});
}

TEST_F(RunFolderTest, OfAnotherConfig) {
  refuse(train_tiny(run_, {"seed=2"}) + Arguments{"--resume"}, 2,
         {"another config", "cmat train " + run_.string() + " --resume"});
}

TEST_F(RunFolderTest, OfAnEditedConfig) {
  write_file_atomic(run_ / "config.toml", read_file(run_ / "config.toml") + "# mine\n");
  const std::vector<std::string> parts = {run_.string(), "was edited"};
  refuse(resume_, 2, parts);
  refuse({"eval", run_.string()}, 2, parts);
  refuse({"verify", run_.string()}, 2, parts);
}

TEST_F(RunFolderTest, OfAnotherFormat) {
  edit_record("format", 2);
  const std::vector<std::string> parts = {"format 2", "reads format 1", "version of CMAT"};
  refuse(resume_, 1, parts);
  refuse({"eval", run_.string()}, 1, parts);
  refuse({"verify", run_.string()}, 1, parts);
  refuse({"show", run_.string()}, 2, parts);
}

TEST_F(RunFolderTest, WithADamagedRecord) {
  for (const char* field : {"status", "config_sha256", "threads"}) {
    const std::string before = read_file(run_ / "run.json");
    edit_record(field, json::array());
    refuse(resume_, 1, {"run.json is damaged", field});
    write_file_atomic(run_ / "run.json", before);
  }
  write_file_atomic(run_ / "run.json", "{\"format\": 1, ");
  refuse(resume_, 1, {"run.json is damaged"});
  refuse({"show", run_.string()}, 1, {"run.json is damaged"});
  refuse({"verify", run_.string()}, 1, {"run.json is damaged"});
}

TEST_F(RunFolderTest, IsRepeatedByItsConfig) {
  expect_success(run_program(
      {"train", run_.string(), "--out", (folder_ / "again").string(), "--threads", "1"}));
  expect_same_end(folder_ / "again", run_);
}

TEST(RunFolderInUse, NamesTheProcess) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program first(train_tiny(run, {"compact.epochs=2000"}));
  ASSERT_TRUE(first.send_when(0, event_added(run, "epoch", 1)));
  const Arguments again = train_tiny(run, {"compact.epochs=2000"}) + Arguments{"--resume"};
  expect_refused(again, 1, {run.string(), "in use by process " + std::to_string(first.pid())});
  EXPECT_TRUE(first.running());
}

TEST(RunFolderThreads, AnotherNumberNeedsConsent) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program program(train_tiny(run, {"compact.epochs=4"}));
  ASSERT_TRUE(program.send_when(SIGTERM, event_added(run, "epoch", 3)));
  ASSERT_EQ(program.wait().status, 130);
  const Arguments resume = {"train", run.string(), "--resume", "--threads", "2"};
  expect_refused(resume, 2, {"--threads 1", "with 2", "--allow-inexact-resume"});
  expect_success(run_program(resume + Arguments{"--allow-inexact-resume"}));
  EXPECT_EQ(read_json(run / "run.json").at("threads"), 2);
  EXPECT_EQ(read_json(run / "run.json").at("exact"), false);
  EXPECT_NE(read_file(run / "events.jsonl").find("inexact_resume"), std::string::npos);
}

TEST(RunFolderThreads, TheRunsOwnNumberIsTheDefault) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program program(train_tiny(run, {"compact.epochs=4"}));  // one thread
  ASSERT_TRUE(program.send_when(SIGTERM, event_added(run, "epoch", 3)));
  ASSERT_EQ(program.wait().status, 130);
  expect_success(run_program({"train", run.string(), "--resume"}));
  EXPECT_EQ(read_json(run / "run.json").at("threads"), 1);
  EXPECT_FALSE(read_json(run / "run.json").contains("exact"));
  const Outcome verified = run_program({"verify", run.string(), "--json"});
  ASSERT_EQ(verified.status, 0) << verified.err;
  const json proof = json::parse(verified.out);
  for (const json& task : proof.at("tasks")) {
    EXPECT_EQ(task.at("logits_identical"), true);
  }
}

TEST(RunFolderFailure, IsForgottenByAResumeThatSucceeds) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program program(train_tiny(run, {"compact.epochs=4"}));
  ASSERT_TRUE(program.send_when(SIGTERM, event_added(run, "epoch", 3)));
  ASSERT_EQ(program.wait().status, 130);
  json record = read_json(run / "run.json");
  record["status"] = "failed";
  record["reason"] = "the disk was full";
  write_file_atomic(run / "run.json", record.dump());
  expect_success(run_program({"train", run.string(), "--resume"}));
  EXPECT_EQ(read_json(run / "run.json").at("status"), "finished");
  EXPECT_FALSE(read_json(run / "run.json").contains("reason"));
}

TEST(NewRunFolder, AFileIsInTheWay) {
  TemporaryFolder folder;
  write_file_atomic(folder / "file", "mine");
  expect_refused(train_tiny(folder / "file"), 1, {"cannot make the run folder", "file"});
  expect_refused(train_tiny(folder / "file" / "run"), 1,
                 {"cannot make the run folder", "file/run"});
  EXPECT_EQ(read_file(folder / "file"), "mine");
}

TEST(NewRunFolder, NameThatIsTooLong) {
  TemporaryFolder folder;
  expect_refused(train_tiny(folder / std::string(300, 'x')), 1, {"xxx", "File name too long"});
}

TEST(NewRunFolder, Unwritable) {
  TemporaryFolder folder;
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  expect_refused(train_tiny(folder / "run"), 1, {"cannot make the run folder", "ermission denied"});
  fs::permissions(folder.path(), fs::perms::owner_all);
}

// `--out .` beside one's own config.toml must not replace it by the resolved one.
TEST(NewRunFolder, WithFilesOfSomebodyElse) {
  for (const char* name : {"config.toml", "events.jsonl", "results.json", "model.safetensors"}) {
    TemporaryFolder folder;
    write_file_atomic(folder / name, "mine");
    expect_refused(train_tiny(folder.path()), 2, {folder.path().string(), name, "--out"});
    EXPECT_EQ(read_file(folder / name), "mine");
  }
}

TEST(NewRunFolder, MayHoldOtherFiles) {
  TemporaryFolder folder;
  write_file_atomic(folder / "notes.txt", "mine");
  train_to_end(folder.path());
  EXPECT_EQ(read_file(folder / "notes.txt"), "mine");
}

}  // namespace
}  // namespace cmat::test
