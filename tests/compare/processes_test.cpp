#include "cmat/compare/processes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat::compare {
namespace {

class Processes : public testing::Test {
 protected:
  Job shell(const std::string& name, const std::string& script) {
    return {name, {"/bin/sh", "-c", script}, folder_ / (name + ".log")};
  }
  bool run(const std::vector<Job>& jobs, std::size_t at_once) {
    JobEvents events;
    events.line = [&](const Job& job, const std::string& line) { lines[job.name].push_back(line); };
    events.ended = [&](const JobEnd& end) { exits[jobs[end.job].name] = end.exit_code; };
    events.stop = [&] { return stop; };
    return run_jobs(jobs, at_once, events);
  }
  std::map<std::string, std::vector<std::string>> lines;
  std::map<std::string, int> exits;
  bool stop = false;

 private:
  test::TemporaryFolder folder_;
};

TEST_F(Processes, PassOnLinesAndExitCodes) {
  EXPECT_TRUE(run(
      {shell("a", "echo one; echo two >&2; exit 3"), shell("b", "kill -9 $$"), shell("c", "true")},
      2));
  EXPECT_EQ(lines["a"], (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(exits, (std::map<std::string, int>{{"a", 3}, {"b", 137}, {"c", 0}}));
}

TEST_F(Processes, AnOlderLogIsNotPassedOnAgain) {
  run({shell("a", "echo one")}, 1);
  run({shell("a", "echo two")}, 1);
  EXPECT_EQ(lines["a"], (std::vector<std::string>{"one", "two"}));
}

TEST_F(Processes, StopEndsWhatRunsAndStartsNoMore) {
  stop = false;
  std::vector<Job> jobs = {
      shell("a", "trap 'exit 130' TERM; echo ready; while :; do sleep 0.05; done"),
      shell("b", "echo never")};
  JobEvents events;
  events.line = [&](const Job&, const std::string&) { stop = true; };
  events.ended = [&](const JobEnd& end) { exits[jobs[end.job].name] = end.exit_code; };
  events.stop = [&] { return stop; };
  EXPECT_FALSE(run_jobs(jobs, 1, events));
  EXPECT_EQ(exits, (std::map<std::string, int>{{"a", 130}}));
}

TEST_F(Processes, AMissingProgramIsAFailure) {
  test::expect_failure({"cannot start", "/no/such/program"}, [&] {
    run({{"a", {"/no/such/program"}, "/dev/null"}}, 1);
  });
}

}  // namespace
}  // namespace cmat::compare
