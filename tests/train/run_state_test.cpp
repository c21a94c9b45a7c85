#include "cmat/train/run_state.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"

namespace cmat::train {
namespace {

using nlohmann::json;

/// No field at its default.
RunState full_state() {
  RunState s;
  s.phase = RunState::Phase::stages;
  s.task = 3;
  StageOutcome o;
  o.stage = {.kind = "train",
             .number = 1,
             .epochs = 9,
             .ratio = 0.1,
             .start_ratio = 0.05,
             .one_shot = true,
             .lr_scale = 0.25};
  o.losses = {0.1, 1.0 / 3, 2e-300, 1e17 / 7};
  o.clean_accuracy = 0.7;
  o.robust_accuracy = 0.3;
  o.loss = 1.0 / 7;
  o.accepted = true;
  o.reason = "a \"reason\"\n";
  s.history = {o, o};
  s.history[1].accepted = false;
  s.stage = o.stage;
  s.stage->kind = "compact";
  s.epoch = 4;
  s.step = 5;
  s.loss_sum = 0.1 + 0.2;
  s.correct = 6;
  s.seen = 7;
  s.retries = 2;
  s.best_loss = 2.0 / 3;
  s.certificates = {{"a", "b", "c", {1, 5, 9}}};
  s.evaluations = json::array({{{"after", 1}, {"task", 1}}});
  s.scores = json::array({{{"task", 1}, {"x", 0.1}}});
  s.weights = json::array({{{"own", 4}}});
  s.steps_done = 1LL << 40;
  s.forwards = (1LL << 53) + 1;  // more than a double holds
  s.backwards = 12;
  s.events_bytes = 0xffffffffffffffffULL;
  s.verdicts_bytes = 14;
  s.seconds = 0.3;
  return s;
}

TEST(RunStateJson, RoundTripIsExact) {
  const std::string written = to_json(full_state()).dump();
  const RunState read = state_from_json(json::parse(written));
  EXPECT_EQ(to_json(read).dump(), written);
  const RunState s = full_state();
  EXPECT_EQ(read.phase, s.phase);
  EXPECT_EQ(read.history[0].losses, s.history[0].losses);
  EXPECT_EQ(read.history[0].reason, s.history[0].reason);
  EXPECT_EQ(read.history[1].accepted, false);
  ASSERT_TRUE(read.stage);
  EXPECT_EQ(read.stage->kind, "compact");
  EXPECT_EQ(read.stage->lr_scale, 0.25);
  EXPECT_TRUE(read.stage->one_shot);
  EXPECT_EQ(read.loss_sum, s.loss_sum);
  EXPECT_EQ(read.best_loss, s.best_loss);
  EXPECT_EQ(read.forwards, s.forwards);
  EXPECT_EQ(read.events_bytes, s.events_bytes);
  EXPECT_EQ(read.certificates[0].probe, s.certificates[0].probe);
  EXPECT_EQ(read.seconds, s.seconds);
}

TEST(RunStateJson, EveryPhaseAndNoStage) {
  for (auto phase : {RunState::Phase::begin_task, RunState::Phase::stages,
                     RunState::Phase::evaluate, RunState::Phase::finished}) {
    RunState s;
    s.phase = phase;
    const RunState read = state_from_json(json::parse(to_json(s).dump()));
    EXPECT_EQ(read.phase, phase);
    EXPECT_FALSE(read.stage);
  }
}

TEST(RunStateJson, MissingOrWrongFieldsAreFailures) {
  const json good = to_json(full_state());
  for (const auto& [key, value] : good.items()) {
    json lacking = good;
    lacking.erase(key);
    test::expect_failure({"checkpoint"}, [&] { state_from_json(lacking); });
  }
  json wrong = good;
  wrong["epoch"] = "four";
  test::expect_failure({"checkpoint"}, [&] { state_from_json(wrong); });
  wrong = good;
  wrong["phase"] = "dreaming";
  test::expect_failure({"dreaming"}, [&] { state_from_json(wrong); });
  wrong = good;
  wrong["history"][0].erase("losses");
  test::expect_failure({"checkpoint"}, [&] { state_from_json(wrong); });
}

/// JSON has no NaN: a diverged stage must not make the run's checkpoint unreadable.
TEST(RunStateJson, NotANumberSurvives) {
  RunState s = full_state();
  s.history[0].loss = std::numeric_limits<double>::quiet_NaN();
  s.history[0].losses[1] = std::numeric_limits<double>::infinity();
  s.best_loss = std::numeric_limits<double>::infinity();
  const RunState read = state_from_json(json::parse(to_json(s).dump()));
  EXPECT_FALSE(std::isfinite(read.history[0].loss));
  EXPECT_FALSE(std::isfinite(read.history[0].losses[1]));
  EXPECT_FALSE(std::isfinite(read.best_loss));
}

}  // namespace
}  // namespace cmat::train
