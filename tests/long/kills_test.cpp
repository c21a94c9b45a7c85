// Many kills at random instants, for one config after the other: the end must be the undisturbed
// one, to the bit. Takes minutes, so it runs by command only: ctest --preset release -C long -R
// Long
//
//   CMAT_KILLS=N   kills of each config (50)
//   CMAT_SEED=S    other instants
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/error.h"
#include "cmat/core/random.h"

namespace cmat::test {
namespace {

struct Case {
  std::string name;
  Arguments assignments;  ///< changes of the tiny run
};

/// One line for whatever brings new state into a checkpoint.
std::vector<Case> cases() {
  return {
      {"Cmat", {"compact.epochs=20", "evaluation.steps=40"}},
      {"Packnet", {"method.name=packnet", "compact.epochs=20", "evaluation.steps=40"}},
      {"Individual", {"method.name=individual", "compact.epochs=20"}},
      {"Finetune", {"method.name=finetune", "compact.epochs=20"}},
      {"Piggyback", {"method.name=piggyback", "compact.epochs=20", "compact.pick_lr=0.01"}},
      {"Joint", {"method.name=joint", "compact.epochs=10", "evaluation.steps=40"}},
      {"JointHeads", {"method.name=joint", "method.joint_head=tasks", "method.select=best"}},
      {"Small", {"method.name=small", "method.budget=6000", "compact.epochs=20"}},
      {"Pae",
       {"method.name=pae", "method.compaction=progressive", "method.targets=[0.3,0.6]",
        "train.epochs=4", "compact.epochs=4"}},
      {"Best", {"method.select=best", "compact.epochs=10", "train.epochs=4"}},
      {"Progressive",
       {"method.compaction=progressive", "method.targets=[0.3,0.6]", "method.select=best",
        "train.epochs=4", "compact.epochs=4", "repick.epochs=2"}},
      {"Growth", growing() + Arguments{"data.synthetic.train_per_class=60"}},
      {"NoAverages", {"optimizer.average_decay=0", "compact.epochs=20"}},
  };
}

std::uint64_t number_of(const char* variable, std::uint64_t fallback) {
  const char* value = std::getenv(variable);
  return value ? std::strtoull(value, nullptr, 10) : fallback;
}

/// A time after the start, an event of the run, or (`fault` is set) a chosen system call.
Moment random_moment(const fs::path& run, Random& random, std::string& fault) {
  switch (random.below(3)) {
    case 0:
      return after_seconds(random.uniform(0.0, 0.8));
    case 1:
      return kill_moment(run, static_cast<int>(random.below(1000)));
    default: {
      const std::vector<std::string> calls = {"open",   "write", "fsync",
                                              "rename", "link",  "truncate"};
      fault = text(calls[random.below(calls.size())], ":", random.below(40) + 1, ":KILL");
      return [] { return false; };
    }
  }
}

class LongKills : public ::testing::TestWithParam<Case> {};

TEST_P(LongKills, ChangeNothing) {
  const Arguments all = Arguments{"checkpoint.every_steps=1"} + GetParam().assignments;
  const std::uint64_t wanted = number_of("CMAT_KILLS", 50);
  Random random({.seed = number_of("CMAT_SEED", 1)});
  TemporaryFolder folder;
  train_to_end(folder / "undisturbed", all);
  std::uint64_t killed = 0, runs = 0;
  while (killed < wanted) {
    const fs::path run = folder / text("killed", ++runs);
    const Arguments command = train_tiny(run, all) + Arguments{"--resume"};
    for (bool over = false; !over;) {
      std::string fault;
      const Moment moment = random_moment(run, random, fault);
      Program program(command, [&] {
        if (!fault.empty() && killed < wanted) ::setenv("CMAT_INJECT_FAULT", fault.c_str(), 1);
      });
      if (killed < wanted) program.send_when(SIGKILL, moment);
      const Outcome outcome = program.wait();
      over = outcome.status == 0;
      if (!over) {
        ASSERT_EQ(outcome.status, 128 + SIGKILL) << outcome.err;
        ++killed;
      }
    }
    expect_same_end(run, folder / "undisturbed");
    ASSERT_FALSE(HasFailure()) << "after " << killed << " kills";
  }
  std::cout << killed << " kills in " << runs << " runs\n";
}

INSTANTIATE_TEST_SUITE_P(Config, LongKills, ::testing::ValuesIn(cases()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace cmat::test
