#include "cmat/continual/results.h"

#include <cmath>

#include "cmat/attack/as_published.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/eval/metrics.h"
#include "cmat/eval/robust_eval.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

json find_row(const json& rows, std::int64_t after, std::int64_t task, const std::string& attack) {
  for (const json& row : rows) {
    if (row.at("after") == after && row.at("task") == task && row.at("attack") == attack)
      return row;
  }
  return {};
}

std::string verdict_line(std::int64_t after, std::int64_t task, const std::string& attack,
                         const eval::Verdicts& v) {
  const json line = {{"after", after},      {"task", task},       {"attack", attack},
                     {"images", v.samples}, {"labels", v.labels}, {"predictions", v.predictions}};
  return line.dump() + "\n";
}

/// Matrix of accuracies on the lower triangle, as far as rows exist.
eval::AccuracyMatrix matrix(const json& rows, const std::string& attack, std::int64_t tasks) {
  eval::AccuracyMatrix m;
  for (std::int64_t after = 1; after <= tasks; ++after) {
    std::vector<double> line;
    for (std::int64_t task = 1; task <= after; ++task) {
      const json row = find_row(rows, after, task, attack);
      if (row.is_null()) return m;
      line.push_back(row.at("correct").get<double>() / row.at("total").get<double>());
    }
    m.push_back(line);
  }
  return m;
}

/// Of the mean over the last row's tasks, from the number of test images alone.
double mean_standard_error(const json& rows, const std::string& attack, std::int64_t tasks) {
  double variance = 0;
  for (std::int64_t task = 1; task <= tasks; ++task) {
    const json row = find_row(rows, tasks, task, attack);
    if (row.is_null()) return 0;
    const double se = eval::standard_error(row.at("correct"), row.at("total"));
    variance += se * se;
  }
  return std::sqrt(variance) / static_cast<double>(tasks);
}

/// The options of the source that task i (from 0) takes its images from.
const data::SourceOptions& source_of(const Setup& setup, std::size_t i) {
  const data::StreamOptions& stream = setup.settings.stream;
  const std::size_t first = setup.stream.tasks.size() - stream.tasks.size();
  return i < first ? stream.source : stream.tasks[i - first].source;
}

json task_list(const Setup& setup) {
  json list = json::array();
  for (std::size_t i = 0; i < setup.stream.tasks.size(); ++i) {
    const data::Task& t = setup.stream.tasks[i];
    list.push_back(
        {{"index", i + 1},
         {"name", t.name},
         {"source", t.source->name},
         {"classes", t.class_names},
         {"image", {t.source->test.channels, t.source->test.height, t.source->test.width}},
         {"resize", source_of(setup, i).folder.resize},
         {"chance", 1.0 / static_cast<double>(t.classes.size())},
         {"train", t.train.size()},
         {"validation", t.validation.size()},
         {"test", t.test.size()}});
  }
  return list;
}

json byte_count(const Setup& setup) {
  const train::Model& model = *setup.model;
  const auto values = model.value_bytes(), owners = model.owner_bytes();
  json tasks = json::array();
  std::int64_t total = values + owners;
  std::int64_t number = 0;
  for (const nn::TaskPart& part : model.parts()) {
    tasks.push_back(
        {{"task", ++number}, {"picks", part.pick_bytes()}, {"part", part.tensor_bytes()}});
    total += part.pick_bytes() + part.tensor_bytes();
  }
  json bytes = {{"values", values}, {"owners", owners}, {"tasks", tasks}, {"total", total}};
  const train::MethodSettings& method = setup.settings.method;
  if (method.name == "small") bytes["budget"] = method.budget;
  return bytes;
}

}  // namespace

json threat_json(const attack::ThreatModel& threat) {
  return {{"norm", attack::threat_name(threat)},
          {"eps_pixels", threat.eps_pixels},
          {"eps", attack::threat_eps(threat)}};
}

json score_row(std::int64_t task, const std::string& attack,
               const std::vector<std::int64_t>& labels,
               const std::vector<std::int64_t>& predictions, std::int64_t classes) {
  const eval::Confusion confusion = eval::confusion_matrix(labels, predictions, classes);
  const eval::MacroScores scores = eval::macro_scores(confusion);
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) correct += labels[i] == predictions[i];
  const eval::Interval interval = eval::wilson(correct, static_cast<std::int64_t>(labels.size()));
  return {{"task", task},
          {"attack", attack},
          {"accuracy", scores.accuracy},
          {"interval", {interval.low, interval.high}},
          {"precision", scores.precision},
          {"recall", scores.recall},
          {"f1", scores.f1},
          {"confusion", confusion}};
}

std::string evaluate_tasks(Setup& setup, train::RunState& state,
                           const std::function<void(const std::string&)>& progress) {
  const train::Settings& settings = setup.settings;
  const auto attack = attack::make_config_pgd(settings.evaluation.attack);
  const std::string attack_name = settings.evaluation.attack_name;
  std::string lines;
  json scores = json::array();
  for (std::int64_t task = 1; task <= state.task; ++task) {
    const data::Task& t = setup.task(task);
    setup.model->activate(task);
    const bool unchanged = setup.model->weight_digest() ==
                           state.certificates[static_cast<std::size_t>(task - 1)].weight_digest;
    if (!unchanged && setup.method->sharing() != train::Sharing::overwritten) {
      failure("task ", task, " (", t.name,
              ") no longer computes what it computed when it was committed; ",
              "this is a defect of the program, please report it");
    }
    for (const std::string& name : {std::string("clean"), attack_name}) {
      json row =
          unchanged && task < state.task ? find_row(state.evaluations, task, task, name) : json();
      if (!row.is_null()) {
        row["after"] = state.task;
        row["basis"] = "identical";
        state.evaluations.push_back(row);
        for (const json& old : state.scores) {
          if (old.at("task") == task && old.at("attack") == name) scores.push_back(old);
        }
        continue;
      }
      const eval::Verdicts v =
          eval::evaluate(setup.model->network(), t.source->test, t, t.test,
                         name == "clean" ? nullptr : attack.get(), setup.eval_options(),
                         setup.test_draws(task), [&](std::int64_t done) {
                           progress(text("evaluating task ", task, " ", t.name, ": ", name, " ",
                                         done, "/", t.test.size()));
                         });
      state.evaluations.push_back({{"after", state.task},
                                   {"task", task},
                                   {"attack", name},
                                   {"correct", v.correct()},
                                   {"total", v.total()},
                                   {"basis", "measured"}});
      scores.push_back(score_row(task, name, v.labels, v.predictions,
                                 static_cast<std::int64_t>(t.classes.size())));
      lines += verdict_line(state.task, task, name, v);
    }
  }
  state.scores = scores;
  return lines;
}

json results_json(const Setup& setup, const train::RunState& state) {
  const train::Settings& s = setup.settings;
  const auto attack = attack::make_config_pgd(s.evaluation.attack);
  json results = {{"format", train::kRunFormat},
                  {"method", setup.method->label()},
                  {"objective", setup.objective->name()},
                  {"network", setup.description.architecture},
                  {"width", setup.model->width()},
                  {"seed", s.seed},
                  {"protocol", s.threat.as_published ? "as-published" : "task-aware"},
                  {"source", setup.stream.source_names()},
                  {"threat_model", threat_json(s.threat)},
                  {"attacks",
                   {{{"name", "clean"}, {"recipe", ""}},
                    {{"name", s.evaluation.attack_name}, {"recipe", attack->recipe()}}}},
                  {"tasks", task_list(setup)},
                  {"evaluations", state.evaluations},
                  {"per_task", state.scores},
                  {"weights", state.weights},
                  {"bytes", byte_count(setup)},
                  {"images_forward", state.forwards},
                  {"images_backward", state.backwards}};
  // What a network was trained on before belongs to every number of it.
  if (!setup.initial_weights.empty()) results["initial_weights"] = setup.initial_weights.text();
  for (const std::string& name : {std::string("clean"), s.evaluation.attack_name}) {
    const eval::AccuracyMatrix m =
        matrix(state.evaluations, name, static_cast<std::int64_t>(setup.stream.tasks.size()));
    if (m.empty()) continue;
    results["matrices"][name] = m;
    results["summary"][name] = {
        {"average", eval::average_accuracy(m)},
        {"standard_error",
         mean_standard_error(state.evaluations, name, static_cast<std::int64_t>(m.size()))},
        {"backward_transfer", eval::backward_transfer(m)},
        {"forgetting", eval::forgetting(m)}};
  }
  return results;
}

}  // namespace cmat::continual
