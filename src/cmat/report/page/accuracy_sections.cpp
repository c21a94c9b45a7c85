// Accuracy over attacks and tasks, and what was forgotten.
#include <algorithm>
#include <map>
#include <set>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/report/page/accuracy.h"
#include "cmat/report/page/parts.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

/// A measurement's place on the axis of difficulty.
struct Difficulty {
  double eps = 0;
  int steps = 0;
  std::string attack;
  auto operator<=>(const Difficulty&) const = default;
  std::string label() const {
    return eps == 0 ? attack : text(attack, ", ", short_radius(format_eps(eps)));
  }
};

/// The number of steps in a name like pgd20x2; others come after all of these.
int steps_of(const std::string& attack) {
  if (attack == "worst case") return 1'000'001;
  const std::size_t digit = attack.find_first_of("0123456789");
  if (!attack.starts_with("pgd") || digit != 3) return 1'000'000;
  return std::atoi(attack.c_str() + digit);
}

Difficulty difficulty_of(const std::string& attack, double eps) {
  return {eps, eps == 0 ? 0 : steps_of(attack), attack};
}

/// All means over all tasks that a run or its saved evaluations hold.
std::map<Difficulty, Mean> means_of(const ReportedRun& run) {
  const RunView view(run.records);
  std::map<Difficulty, Mean> means;
  for (const SavedEvaluation& saved : run.evaluations) {
    const Field all(saved.record, saved.file);
    if (all["protocol"].string_or("") != view.results()["protocol"].string_or("")) continue;
    const std::string norm = view.results()["threat_model"]["norm"].string_or("");
    if (all["threat_model"]["norm"].string_or(norm) != norm) continue;  // other radii
    for (const Field& row : all["averages"].items()) {
      const auto accuracy = row["accuracy"].number(), eps = row["eps_pixels"].number();
      if (!accuracy || !eps || row["tasks"].integer() != view.learned()) continue;
      means[difficulty_of(row["attack"].string_or("?"), *eps)] =
          mean_of(*accuracy, row["interval"]);
    }
  }
  // The run's own test images are all of them, so they go before a saved sample.
  for (const std::string& attack : view.attacks()) {
    const auto eps = view.results()["threat_model"]["eps_pixels"].number().value_or(0);
    if (const auto mean = own_mean(view, attack))
      means[difficulty_of(attack, attack == "clean" ? 0 : eps)] = *mean;
  }
  return means;
}

}  // namespace

void add_difficulty(const ReportInputs& inputs, Document& page) {
  std::set<Difficulty> places;
  std::vector<std::map<Difficulty, Mean>> means;
  for (const ReportedRun& run : inputs.runs) {
    means.push_back(means_of(run));
    for (const auto& [place, mean] : means.back()) places.insert(place);
  }
  if (places.size() < 2) return;
  page.section("Accuracy over the attack's difficulty");
  Chart chart = accuracy_chart("attack and radius, from easy to hard");
  chart.bars = true;
  mark_chance(chart, RunView(inputs.runs.front().records).mean_chance());
  Sheet sheet{"difficulty",
              "Mean accuracy over the tasks, by attack and radius, %",
              {{"run", {}}, {"attack", {}}, {"accuracy", {}}, {"95% interval", {}}},
              {image_intervals}};
  for (const Difficulty& place : places) chart.categories.push_back(place.label());
  for (std::size_t r = 0; r < inputs.runs.size(); ++r) {
    Series series{inputs.runs[r].label, {}};
    double x = 0;
    for (const Difficulty& place : places) {
      const auto found = means[r].find(place);
      if (found != means[r].end()) {
        series.points.push_back(point_of(x, found->second));
        sheet.add_row({series.name, place.label(), percent(found->second.value),
                       interval_text(found->second)});
      }
      x += 1;
    }
    chart.series.push_back(std::move(series));
  }
  std::string command;
  for (const ReportedRun& run : inputs.runs) {
    if (!run.evaluations.empty() && command.empty()) command = run.evaluations.front().command;
  }
  page.figure({.name = "difficulty",
               .title = "Accuracy over the attack's difficulty",
               .caption = std::string("Bars: one a run. ") + image_intervals,
               .command = command.empty() ? train_command(inputs.runs.front()) : command,
               .drawing = std::move(chart)});
  page.table(std::move(sheet));
}

void add_positions(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const std::string& attack : all_attacks(inputs)) {
    Chart chart =
        accuracy_chart("task, in the order of learning", "accuracy after the last task, %");
    std::size_t most = 0;
    for (const ReportedRun& run : inputs.runs) {
      const RunView view(run.records);
      Series series{run.label, {}};
      for (std::int64_t task = 1; task <= view.learned(); ++task) {
        const auto accuracy = view.accuracy(task, attack);
        if (!accuracy) continue;
        const Mean mean = mean_of(*accuracy, view.per_task(task, attack)["interval"]);
        series.points.push_back(point_of(static_cast<double>(task - 1), mean));
      }
      most = std::max(most, static_cast<std::size_t>(view.learned()));
      if (!series.points.empty()) chart.series.push_back(std::move(series));
    }
    if (chart.series.empty()) continue;
    const std::vector<std::string> names = RunView(inputs.runs.front().records).task_names();
    for (std::size_t t = 0; t < most; ++t)
      chart.categories.push_back(t < names.size() ? text(t + 1, " ", names[t]) : text(t + 1));
    if (!started) page.section("Accuracy by task position");
    started = true;
    page.figure({.name = "position-" + slug(attack),
                 .title = "Accuracy by task, " + attack,
                 .caption = "Wilson's 95% intervals.",
                 .command = train_command(inputs.runs.front()),
                 .drawing = std::move(chart)});
  }
}

void add_forgetting(const ReportInputs& inputs, Document& page) {
  Sheet sheet{
      "forgetting",
      "What was forgotten, in points",
      {{"run", {}}, {"attack", {}}, {"forgetting", {}}, {"backward transfer", {}}, {"verdict", {}}},
      {"forgetting: points lost since a task's best, mean over all tasks but the last; backward "
       "transfer: points gained since it was learned. identical: the network's function on every "
       "earlier task was proven unchanged, to the bit."}};
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    if (view.learned() < 2) continue;
    for (const std::string& attack : view.attacks()) {
      const Field summary = view.summary(attack);
      sheet.add_row({run.label, attack, points(summary["forgetting"].number(), false),
                     points(summary["backward_transfer"].number(), true),
                     view.nothing_changed(attack) ? "identical to the bit" : "changed"});
    }
  }
  if (sheet.rows() == 0) return;
  page.section("Forgetting");
  page.table(std::move(sheet));
  for (const ReportedRun& run : inputs.runs)
    page.command("The proof, again:", "cmat verify " + printable(run.records.folder.string()));
}

}  // namespace cmat::report
