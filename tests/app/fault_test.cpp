// Disks that fail and memory that runs out: the program ends in one sentence, the checkpoint stays
// whole, and resuming ends as if nothing had happened, to the bit.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <optional>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/error.h"

namespace cmat::test {
namespace {

/// Two tasks, a checkpoint after each third step.
const Arguments assignments = {"stream.only=[0,1]", "compact.epochs=3", "checkpoint.every_steps=3"};

std::function<void()> with_fault(const std::string& fault) {
  return [fault] { ::setenv("CMAT_INJECT_FAULT", fault.c_str(), 1); };
}

std::function<void()> with_limit(__rlimit_resource resource, rlim_t bytes) {
  return [=] {
    const rlimit limit{bytes, bytes};
    ::setrlimit(resource, &limit);
  };
}

class Fault : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    undisturbed_.emplace();
    train_to_end(*undisturbed_ / "run", assignments);
  }
  static void TearDownTestSuite() { undisturbed_.reset(); }

  fs::path undisturbed() const { return *undisturbed_ / "run"; }

  /// The run is resumed and ends like the undisturbed one.
  void expect_resume(const fs::path& run) {
    expect_success(run_program(train_tiny(run, assignments) + Arguments{"--resume"}));
    expect_same_end(run, undisturbed());
    EXPECT_FALSE(read_json(run / "run.json").contains("reason"));
  }

  /// The call fails for this reason. False: the run has fewer such calls, and finished.
  bool fails_and_resumes(const std::string& fault, const std::vector<std::string>& parts) {
    SCOPED_TRACE(fault);
    TemporaryFolder folder;
    const fs::path run = folder / "run";
    const Outcome outcome = run_program(train_tiny(run, assignments), with_fault(fault));
    if (outcome.status == 0) return false;
    expect_error_line(outcome, 1, parts, /*after_others=*/true);
    EXPECT_NE(outcome.err.find(run.string()), std::string::npos) << outcome.err;
    if (fs::exists(run / "run.json")) expect_recorded(run, outcome);
    expect_resume(run);
    return true;
  }

  /// run.json says that the run failed, and why, unless it could not be written either.
  void expect_recorded(const fs::path& run, const Outcome& outcome) {
    const json record = read_json(run / "run.json");
    if (record.at("status") == "running") return;
    EXPECT_EQ(record.at("status"), "failed");
    EXPECT_NE(outcome.err.find(record.at("reason").get<std::string>()), std::string::npos);
  }

  static std::optional<TemporaryFolder> undisturbed_;
};

std::optional<TemporaryFolder> Fault::undisturbed_;

TEST_F(Fault, OfFsync) {
  for (const int number : {1, 4, 9, 18, 30, 41}) {
    EXPECT_TRUE(fails_and_resumes(text("fsync:", number, ":EIO"), {"Input/output error", "disk"}));
  }
}

TEST_F(Fault, OfRename) {
  for (const int number : {1, 4, 7, 10, 13}) {
    EXPECT_TRUE(
        fails_and_resumes(text("rename:", number, ":EACCES"), {"cannot write", "permissions"}));
  }
}

TEST_F(Fault, OfWrite) {
  for (const int number : {2, 5, 11, 19, 26}) {
    EXPECT_TRUE(fails_and_resumes(text("write:", number, ":ENOSPC"),
                                  {"cannot write", "No space left", "free some space"}));
  }
}

TEST_F(Fault, OfOpen) {
  EXPECT_TRUE(fails_and_resumes("open:12:EROFS", {"Read-only file system"}));
}

// Nothing can be written any more, not even that the run failed.
TEST_F(Fault, OfAllLaterWrites) {
  for (const char* fault : {"write:9+:ENOSPC", "fsync:12+:EIO", "rename:6+:EROFS"}) {
    EXPECT_TRUE(fails_and_resumes(fault, {"cannot write", "; "}));
  }
}

TEST_F(Fault, AnInterruptedCallIsRepeated) {
  TemporaryFolder folder;
  train_to_end(folder / "run", assignments);
  for (const char* call : {"write", "fsync", "rename"}) {
    TemporaryFolder other;
    expect_success(
        run_program(train_tiny(other / "run", assignments), with_fault(text(call, ":7:EINTR"))));
    expect_same_end(other / "run", undisturbed());
  }
}

// Where there are no hard links, the previous checkpoint is a copy.
TEST_F(Fault, OfEveryHardLink) {
  TemporaryFolder folder;
  expect_success(run_program(train_tiny(folder / "run", assignments), with_fault("link:1+:EPERM")));
  expect_same_end(folder / "run", undisturbed());
  EXPECT_TRUE(fs::exists(folder / "run" / "checkpoint" / "previous.safetensors"));
}

// A kill just before a call: what was written to a temporary file, or linked, but not yet renamed.
TEST_F(Fault, KillsAtChosenCalls) {
  for (const char* fault : {"rename:1:KILL", "rename:5:KILL", "rename:6:KILL", "rename:11:KILL",
                            "fsync:8:KILL", "fsync:21:KILL", "link:2:KILL", "truncate:4:KILL"}) {
    SCOPED_TRACE(fault);
    TemporaryFolder folder;
    const fs::path run = folder / "run";
    EXPECT_EQ(run_program(train_tiny(run, assignments), with_fault(fault)).status, 128 + SIGKILL);
    expect_resume(run);
  }
}

// Its last checkpoint is written, its status not yet: it finishes again, and says so once.
TEST_F(Fault, KilledJustBeforeItsStatusIsFinished) {
  int last = 0;  // the number of renames of a whole run; the last one is of run.json
  for (int low = 1, high = 200; low <= high;) {
    const int middle = (low + high) / 2;
    TemporaryFolder folder;
    const fs::path run = folder / "run";
    const auto fault = with_fault(text("rename:", middle, ":KILL"));
    if (run_program(train_tiny(run, assignments), fault).status == 0) {
      high = middle - 1;
      continue;
    }
    last = middle;
    low = middle + 1;
  }
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  run_program(train_tiny(run, assignments), with_fault(text("rename:", last, ":KILL")));
  EXPECT_EQ(read_json(run / "run.json").at("status"), "running");
  expect_resume(run);
}

// Resuming writes too: it cuts the logs, and may rename an older checkpoint.
TEST_F(Fault, WhileResuming) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  run_program(train_tiny(run, assignments), with_fault("fsync:31:KILL"));
  for (const char* fault : {"truncate:1:EIO", "fsync:1:EIO", "fsync:2:EIO", "write:2:ENOSPC",
                            "rename:1:KILL", "open:3:EACCES"}) {
    SCOPED_TRACE(fault);
    const Outcome outcome =
        run_program(train_tiny(run, assignments) + Arguments{"--resume"}, with_fault(fault));
    EXPECT_NE(outcome.status, 0);
    if (outcome.status == 1) expect_error_line(outcome, 1, {run.string()}, true);
  }
  expect_resume(run);
}

TEST_F(Fault, TheVariableIsChecked) {
  for (const char* fault : {"fsync", "fsync:x:EIO", "fsync:0:EIO", "sync:1:EIO", "fsync:1:EFOO"}) {
    TemporaryFolder folder;
    const Outcome outcome = run_program(train_tiny(folder / "run", assignments), with_fault(fault));
    expect_error_line(outcome, 2, {"CMAT_INJECT_FAULT", fault, "unset it"}, true);
  }
}

// A real limit: the kernel writes as much of the checkpoint as fits, then refuses.
TEST_F(Fault, FileSizeLimit) {
  const std::uintmax_t whole = fs::file_size(undisturbed() / "checkpoint" / "last.safetensors");
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  const Outcome outcome =
      run_program(train_tiny(run, assignments), with_limit(RLIMIT_FSIZE, whole * 9 / 10));
  expect_error_line(outcome, 1, {"cannot write", "safetensors", "File too large", "ulimit -f"},
                    true);
  EXPECT_EQ(read_json(run / "run.json").at("status"), "failed");
  expect_resume(run);
}

#ifndef CMAT_SANITIZED  // its shadow memory alone is beyond any limit

/// The most address space that the program took while it made this run.
rlim_t peak_bytes(const Arguments& arguments) {
  Program program(arguments);
  const std::string status = text("/proc/", program.pid(), "/status");
  rlim_t peak = 0;
  program.send_when(0, [&] {
    const std::string content = read_file(status);
    const std::size_t found = content.find("VmPeak:");
    if (found != std::string::npos) {
      peak = std::max<rlim_t>(peak, std::strtoull(&content[found + 7], nullptr, 10) * 1024);
    }
    return false;
  });
  program.wait();
  return peak;
}

/// With as much memory as the run takes without `greedy`, it ends with a sentence; then it resumes.
void expect_memory_runs_out(const Arguments& modest, const Arguments& greedy) {
  TemporaryFolder folder;
  const rlim_t limit = peak_bytes(train_tiny(folder / "modest", modest)) + (64 << 20);
  ASSERT_GT(limit, rlim_t{64} << 20);
  train_to_end(folder / "undisturbed", greedy);
  const fs::path run = folder / "run";
  const Outcome outcome = run_program(train_tiny(run, greedy), with_limit(RLIMIT_AS, limit));
  expect_error_line(outcome, 1,
                    {"out of memory", "optimizer.batch", "evaluation.batch", "--resume"}, true);
  const json record = read_json(run / "run.json");
  EXPECT_EQ(record.at("status"), "failed");
  EXPECT_NE(record.at("reason").get<std::string>().find("out of memory"), std::string::npos);
  expect_success(run_program(train_tiny(run, greedy) + Arguments{"--resume"}));
  expect_same_end(run, folder / "undisturbed");
}

TEST(OutOfMemory, InAnEvaluation) {
  expect_memory_runs_out({"evaluation.batch=40", "evaluation.steps=1", "stream.only=[0]"},
                         {"evaluation.batch=30000", "evaluation.steps=1", "stream.only=[0]"});
}

// A batch is a whole task, and the second task is six times the first.
TEST(OutOfMemory, InATrainingStep) {
  const Arguments both = {
      "data.synthetic.classes=14", "data.synthetic.train_per_class=500",
      "data.synthetic.height=16",  "data.synthetic.width=16",
      "stream.split=groups",       "stream.groups=[[0,1],[2,3,4,5,6,7,8,9,10,11,12,13]]",
      "network.width=1",           "optimizer.batch=9000",
      "optimizer.norm_warmup=1",   "objective.steps=1",
      "evaluation.steps=1",        "compact.epochs=1"};
  expect_memory_runs_out(both + Arguments{"stream.only=[0]"}, both);
}

#endif

}  // namespace
}  // namespace cmat::test
