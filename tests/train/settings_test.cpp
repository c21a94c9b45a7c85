#include "cmat/train/settings.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"

namespace cmat::train {
namespace {

Settings read(const std::vector<std::string>& overrides) {
  Config config = Config::parse("[stream]\nsplit = \"chunks\"\n", "test");
  for (const std::string& o : overrides) config.set(o);
  Settings s = read_settings(config);
  config.finish();
  return s;
}

TEST(Settings, Defaults) {
  const Settings s = read({});
  EXPECT_EQ(s.method.name, "cmat");
  EXPECT_EQ(s.train.epochs, 0);
  EXPECT_EQ(s.compact.epochs, 20);
  EXPECT_EQ(s.compact.schedule.kind, ScheduleKind::cosine);
  EXPECT_DOUBLE_EQ(s.threat.eps_pixels, 8.0 / 255);
  EXPECT_EQ(s.evaluation.attack.keep, attack::PgdOptions::Keep::best);
  EXPECT_EQ(s.evaluation.attack_name, "pgd20");
  EXPECT_EQ(s.stream.seed, s.seed);
}

TEST(Settings, EachNormHasItsUsualRadius) {
  EXPECT_DOUBLE_EQ(read({"threat.norm=l2"}).threat.eps_pixels, 0.5);
  const Settings l1 = read({"threat.norm=l1"});
  EXPECT_EQ(l1.threat.norm, attack::Norm::l1);
  EXPECT_DOUBLE_EQ(l1.threat.eps_pixels, 12);
  EXPECT_DOUBLE_EQ(l1.evaluation.attack.step_pixels, 2.5 * 12 / 20);
}

TEST(Settings, WhatIsReadIsWhatWasWritten) {
  const Settings s =
      read({"seed=7", "optimizer.batch=32", "optimizer.nesterov=false", "picks.threshold=0.1",
            "bank.private_below=100", "repick.epochs=2", "repick.pick_lr=0.01",
            "checkpoint.every_steps=5", "method.targets=[0.2, 0.5]"});
  EXPECT_EQ(s.seed, 7U);
  EXPECT_EQ(s.stream.seed, 7U);
  EXPECT_EQ(s.optimizer.batch, 32);
  EXPECT_FALSE(s.optimizer.nesterov);
  EXPECT_EQ(s.picks.threshold, 0.1);
  EXPECT_EQ(s.private_below, 100);
  EXPECT_EQ(s.repick.epochs, 2);
  EXPECT_EQ(s.repick.pick_lr, 0.01);
  EXPECT_EQ(s.checkpoint.every_steps, 5);
  EXPECT_EQ(s.method.targets, (std::vector<double>{0.2, 0.5}));
}

struct Wrong {
  std::vector<std::string> overrides, message;
};

class WrongSettings : public testing::TestWithParam<Wrong> {};

TEST_P(WrongSettings, AreRefused) {
  test::expect_usage_error(GetParam().message, [] { read(GetParam().overrides); });
}

INSTANTIATE_TEST_SUITE_P(
    Settings, WrongSettings,
    testing::Values(
        Wrong{{"method.name=cpg"}, {"method.name", "cpg"}},
        Wrong{{"method.compaction=all"}, {"method.compaction", "all"}},
        Wrong{{"method.quota=some"}, {"method.quota"}},
        Wrong{{"method.select=first"}, {"method.select"}},
        Wrong{{"method.fixed_ratio=1.5"}, {"method.fixed_ratio"}},
        Wrong{{"method.targets=[0.5, 0.5]"}, {"method.targets", "ascending"}},
        Wrong{{"method.targets=[0.5, 0.2]"}, {"method.targets", "ascending"}},
        Wrong{{"method.targets=[0.5, 1.0]"}, {"method.targets"}},
        Wrong{{"method.targets=[0.0, 0.5]"}, {"method.targets"}},
        Wrong{{"optimizer.batch=1"}, {"optimizer.batch"}},
        Wrong{{"optimizer.momentum=2"}, {"optimizer.momentum"}},
        Wrong{{"optimizer.average_decay=1"}, {"optimizer.average_decay"}},
        Wrong{{"compact.ramp_begin=0.8", "compact.ramp_end=0.2"},
              {"compact.ramp_end", "compact.ramp_begin"}},
        Wrong{{"compact.prune_every=0"}, {"compact.prune_every"}},
        Wrong{{"compact.epochs=0"}, {"train.epochs", "compact.epochs"}},
        Wrong{{"compact.epochs=0", "train.epochs=1"}, {"cmat", "compact.epochs"}},
        Wrong{{"compact.epochs=0", "train.epochs=1", "method.name=packnet"},
              {"packnet", "compact.epochs"}},
        Wrong{{"method.compaction=progressive"}, {"progressive", "train.epochs"}},
        Wrong{{"method.compaction=progressive", "train.epochs=1", "data.validation=0"},
              {"data.validation", "progressive"}},
        Wrong{{"method.select=best", "data.validation=0"}, {"data.validation", "method.select"}},
        Wrong{{"repick.epochs=1", "data.validation=0"}, {"data.validation", "repick.epochs"}},
        Wrong{{"growth.max_width=2"}, {"growth.max_width", "growth.goals", "growth.min_free"}},
        Wrong{{"growth.min_free=0.1"}, {"growth.min_free", "growth.max_width"}},
        Wrong{{"growth.max_width=2", "growth.goals=[1.5]", "train.epochs=1"}, {"growth.goals"}},
        Wrong{{"growth.max_width=2", "growth.goals=[0.5]"}, {"train.epochs"}},
        Wrong{{"growth.max_width=2", "growth.goals=[0.5]", "train.epochs=1", "data.validation=0"},
              {"data.validation", "growth"}},
        Wrong{{"growth.max_width=2", "growth.goals=[0.5]", "growth.goal_run=a", "train.epochs=1"},
              {"growth.goals", "growth.goal_run"}},
        Wrong{{"growth.max_width=2", "growth.min_free=0.1", "method.name=finetune"},
              {"growth.max_width", "finetune"}},
        Wrong{{"method.name=small"}, {"method.budget", "method.budget_run"}},
        Wrong{{"method.name=pae", "compact.epochs=0", "train.epochs=1"}, {"pae", "compact.epochs"}},
        Wrong{{"method.name=pae", "method.compaction=progressive"}, {"train.epochs"}},
        Wrong{{"threat.eps=9"}, {"threat.eps"}}, Wrong{{"seed=-1"}, {"seed"}},
        Wrong{{"evaluation.batch=1"}, {"evaluation.batch"}},
        Wrong{{"picks.beta1=1"}, {"picks.beta1"}},
        Wrong{{"train.schedule=linear"}, {"train.schedule"}},
        Wrong{{"optimizer.bach=3"}, {"optimizer.bach", "optimizer.batch"}}));

TEST(Settings, WithoutDecisionsNoValidationIsNeeded) {
  EXPECT_EQ(read({"data.validation=0"}).stream.amounts.validation, 0);
  EXPECT_NO_THROW(read({"data.validation=0", "method.name=finetune", "repick.epochs=3"}));
  EXPECT_NO_THROW(read({"compact.epochs=0", "train.epochs=1", "method.name=individual"}));
  EXPECT_NO_THROW(read({"compact.ramp_begin=0.5", "compact.ramp_end=0.5"}));
}

}  // namespace
}  // namespace cmat::train
