// Corners of the schedules; their numbers are checked in tests/bank/bank_golden_test.cpp.
#include "cmat/train/schedule.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"

namespace cmat::train {
namespace {

Schedule make(ScheduleKind kind, double warmup) {
  Schedule s;
  s.kind = kind;
  s.lr = 0.2;
  s.warmup = warmup;
  return s;
}

TEST(Schedule, ConstantWithWarmUp) {
  const Schedule s = make(ScheduleKind::constant, 0.4);
  EXPECT_DOUBLE_EQ(s.at(0, 10, 0), 0.05);
  EXPECT_DOUBLE_EQ(s.at(3, 10, 0), 0.2);
  EXPECT_DOUBLE_EQ(s.at(9, 10, 0), 0.2);
}

TEST(Schedule, NeverZeroBeforeTheEnd) {
  for (double warmup : {0.0, 0.3, 1.0}) {
    for (std::int64_t steps : {1, 2, 3, 10}) {
      const Schedule s = make(ScheduleKind::cosine, warmup);
      for (std::int64_t step = 0; step < steps; ++step) {
        EXPECT_GT(s.at(step, steps, 0), 0) << warmup << " " << step << "/" << steps;
        EXPECT_LE(s.at(step, steps, 0), 0.2 * (1 + 1e-12));
      }
    }
  }
}

TEST(Schedule, WarmUpOfTheWholeStageEndsAtThePeak) {
  const Schedule s = make(ScheduleKind::cosine, 1);
  EXPECT_DOUBLE_EQ(s.at(9, 10, 0), 0.2);
}

TEST(Schedule, MilestonesCountEpochs) {
  Schedule s = make(ScheduleKind::multistep, 0);
  s.milestones = {0, 2};
  EXPECT_DOUBLE_EQ(s.at(100, 1, 0), 0.02);
  EXPECT_DOUBLE_EQ(s.at(0, 1, 2), 0.002);
}

TEST(Schedule, ReadsItsKeys) {
  Config config = Config::parse(
      "[a]\nlr = 0.5\nschedule = \"multistep\"\nmilestones = [3, 5]\ngamma = 0.5\nwarmup = 0.1\n",
      "test");
  const Schedule s = read_schedule(config, "a", {});
  config.finish();
  EXPECT_EQ(s.kind, ScheduleKind::multistep);
  EXPECT_DOUBLE_EQ(s.at(0, 1, 5), 0.125);
  Config wrong = Config::parse("[a]\nschedule = \"cosin\"\n", "test");
  test::expect_usage_error({"a.schedule", "cosin", "cosine"},
                           [&] { read_schedule(wrong, "a", {}); });
}

TEST(PruningRatio, Corners) {
  EXPECT_DOUBLE_EQ(pruning_ratio(0.2, 0.8, 0, 10), 0.2);
  EXPECT_DOUBLE_EQ(pruning_ratio(0.2, 0.8, 10, 10), 0.8);
  EXPECT_DOUBLE_EQ(pruning_ratio(0.2, 0.8, 11, 10), 0.8);
  EXPECT_DOUBLE_EQ(pruning_ratio(0.2, 0.8, 0, 0), 0.8);
  double last = 0;
  for (std::int64_t step = 0; step <= 10; ++step) {
    const double ratio = pruning_ratio(0, 0.9, step, 10);
    EXPECT_GE(ratio, last);
    last = ratio;
  }
}

}  // namespace
}  // namespace cmat::train
