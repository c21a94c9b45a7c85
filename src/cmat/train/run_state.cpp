#include "cmat/train/run_state.h"

#include <cmath>
#include <limits>

#include "cmat/core/error.h"

namespace cmat::train {

using nlohmann::json;

json to_json(const StageSpec& s) {
  return {{"kind", s.kind},   {"number", s.number},           {"epochs", s.epochs},
          {"ratio", s.ratio}, {"start_ratio", s.start_ratio}, {"one_shot", s.one_shot},
          {"width", s.width}, {"lr_scale", s.lr_scale}};
}

StageSpec stage_from_json(const json& j) {
  StageSpec s;
  s.kind = j.at("kind").get<std::string>();
  s.number = j.at("number").get<std::int64_t>();
  s.epochs = j.at("epochs").get<std::int64_t>();
  s.ratio = j.at("ratio").get<double>();
  s.start_ratio = j.at("start_ratio").get<double>();
  s.one_shot = j.at("one_shot").get<bool>();
  s.width = j.at("width").get<double>();
  s.lr_scale = j.at("lr_scale").get<double>();
  return s;
}

json to_json(const Certificate& c) {
  return {{"weight_digest", c.weight_digest},
          {"logits_digest", c.logits_digest},
          {"logits_key", c.logits_key},
          {"probe", c.probe}};
}

Certificate certificate_from_json(const json& j) {
  return {j.at("weight_digest").get<std::string>(), j.at("logits_digest").get<std::string>(),
          j.at("logits_key").get<std::string>(), j.at("probe").get<std::vector<std::int64_t>>()};
}

namespace {

/// JSON knows no infinities and no NaN, which a diverged loss may be: they are written as texts.
json number(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  return x;
}

double number_from(const json& j) {
  if (j == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (j == "inf") return std::numeric_limits<double>::infinity();
  if (j == "-inf") return -std::numeric_limits<double>::infinity();
  return j.get<double>();
}

json to_json(const StageOutcome& o) {
  json losses = json::array();
  for (double loss : o.losses) losses.push_back(number(loss));
  return {{"stage", train::to_json(o.stage)},
          {"losses", losses},
          {"clean_accuracy", o.clean_accuracy},
          {"robust_accuracy", o.robust_accuracy},
          {"loss", number(o.loss)},
          {"accepted", o.accepted},
          {"reason", o.reason}};
}

StageOutcome outcome_from_json(const json& j) {
  StageOutcome o;
  o.stage = stage_from_json(j.at("stage"));
  for (const json& loss : j.at("losses")) o.losses.push_back(number_from(loss));
  o.clean_accuracy = j.at("clean_accuracy").get<double>();
  o.robust_accuracy = j.at("robust_accuracy").get<double>();
  o.loss = number_from(j.at("loss"));
  o.accepted = j.at("accepted").get<bool>();
  o.reason = j.at("reason").get<std::string>();
  return o;
}

const char* phase_name(RunState::Phase phase) {
  switch (phase) {
    case RunState::Phase::begin_task:
      return "begin_task";
    case RunState::Phase::stages:
      return "stages";
    case RunState::Phase::evaluate:
      return "evaluate";
    case RunState::Phase::finished:
      return "finished";
  }
  return "";
}

RunState::Phase parse_phase(const std::string& name) {
  for (auto phase : {RunState::Phase::begin_task, RunState::Phase::stages,
                     RunState::Phase::evaluate, RunState::Phase::finished}) {
    if (name == phase_name(phase)) return phase;
  }
  failure("a checkpoint names the unknown phase ", json(name).dump(-1, ' ', /*ensure_ascii=*/true));
}

}  // namespace

json to_json(const RunState& s) {
  json history = json::array(), certificates = json::array();
  for (const StageOutcome& o : s.history) history.push_back(to_json(o));
  for (const Certificate& c : s.certificates) certificates.push_back(to_json(c));
  return {{"phase", phase_name(s.phase)},
          {"task", s.task},
          {"history", history},
          {"stage", s.stage ? to_json(*s.stage) : json()},
          {"epoch", s.epoch},
          {"step", s.step},
          {"loss_sum", s.loss_sum},
          {"correct", s.correct},
          {"seen", s.seen},
          {"retries", s.retries},
          {"best_loss", number(s.best_loss)},
          {"width", s.width},
          {"goals", s.goals},
          {"certificates", certificates},
          {"evaluations", s.evaluations},
          {"scores", s.scores},
          {"weights", s.weights},
          {"steps_done", s.steps_done},
          {"forwards", s.forwards},
          {"backwards", s.backwards},
          {"events_bytes", s.events_bytes},
          {"verdicts_bytes", s.verdicts_bytes},
          {"seconds", s.seconds}};
}

RunState state_from_json(const json& j) {
  try {
    RunState s;
    s.phase = parse_phase(j.at("phase").get<std::string>());
    s.task = j.at("task").get<std::int64_t>();
    for (const json& o : j.at("history")) s.history.push_back(outcome_from_json(o));
    if (!j.at("stage").is_null()) s.stage = stage_from_json(j.at("stage"));
    s.epoch = j.at("epoch").get<std::int64_t>();
    s.step = j.at("step").get<std::int64_t>();
    s.loss_sum = j.at("loss_sum").get<double>();
    s.correct = j.at("correct").get<std::int64_t>();
    s.seen = j.at("seen").get<std::int64_t>();
    s.retries = j.at("retries").get<std::int64_t>();
    s.best_loss = number_from(j.at("best_loss"));
    s.width = j.at("width").get<double>();
    s.goals = j.at("goals").get<std::vector<double>>();
    for (const json& c : j.at("certificates")) s.certificates.push_back(certificate_from_json(c));
    s.evaluations = j.at("evaluations");
    s.scores = j.at("scores");
    s.weights = j.at("weights");
    s.steps_done = j.at("steps_done").get<std::int64_t>();
    s.forwards = j.at("forwards").get<std::int64_t>();
    s.backwards = j.at("backwards").get<std::int64_t>();
    s.events_bytes = j.at("events_bytes").get<std::uint64_t>();
    s.verdicts_bytes = j.at("verdicts_bytes").get<std::uint64_t>();
    s.seconds = j.at("seconds").get<double>();
    return s;
  } catch (const json::exception&) {
    failure(
        "a checkpoint's state lacks a field or has one of the wrong type: it was made by another ",
        "version of CMAT");
  }
}

}  // namespace cmat::train
