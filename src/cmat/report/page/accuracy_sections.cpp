// What was run, the headline numbers, and accuracy over attacks, tasks and radii.
#include <algorithm>
#include <map>
#include <set>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/core/progress.h"
#include "cmat/core/wilson.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

constexpr const char* image_intervals =
    "95% intervals (Wilson) from the number of test images alone; one seed a run.";

struct Mean {
  double value = 0;
  std::optional<double> low, high;
};

/// Wilson's interval for a mean over tasks, each counting the same, as `cmat eval` computes it: of
/// T^2 / sum(1/n) images, which is all of them where the tasks have equally many.
std::optional<Mean> own_mean(const RunView& view, const std::string& attack) {
  const auto value = view.summary(attack)["average"].number();
  if (!value) return {};
  double tasks = 0, inverse = 0;
  for (const Measurement& each : view.measurements()) {
    if (each.attack != attack || each.after != view.learned() || each.total < 1) continue;
    tasks += 1;
    inverse += 1 / static_cast<double>(each.total);
  }
  if (tasks == 0) return Mean{*value, {}, {}};
  // A record that somebody changed may hold anything.
  const WilsonInterval interval =
      wilson_interval(std::clamp(*value, 0.0, 1.0), tasks * tasks / inverse);
  return Mean{*value, interval.low, interval.high};
}

Point point_of(double x, const Mean& mean) {
  Point p{x, in_percent(mean.value), {}, {}};
  if (mean.low && mean.high) p.low = in_percent(*mean.low), p.high = in_percent(*mean.high);
  return p;
}

std::vector<std::string> all_attacks(const ReportInputs& inputs) {
  std::vector<std::string> attacks;
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    for (const std::string& attack : view.attacks()) {
      if (std::find(attacks.begin(), attacks.end(), attack) == attacks.end())
        attacks.push_back(attack);
    }
  }
  return attacks;
}

std::string seed_text(const RunView& view) {
  const auto seed = view.results()["seed"].integer();
  return seed ? text(*seed) : std::string(kUnknown);
}

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
    for (const Field& row : all["averages"].items()) {
      const auto accuracy = row["accuracy"].number(), eps = row["eps_pixels"].number();
      if (!accuracy || !eps || row["tasks"].integer() != view.learned()) continue;
      const std::vector<Field> ends = row["interval"].items();
      Mean mean{*accuracy, {}, {}};
      if (ends.size() == 2) mean.low = ends[0].number(), mean.high = ends[1].number();
      means[difficulty_of(row["attack"].string_or("?"), *eps)] = mean;
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

std::string interval_text(const Mean& mean) { return percent_interval(mean.low, mean.high); }

void add_one_curve(const ReportInputs& inputs, const std::string& over, const std::string& title,
                   const std::string& axis, Document& page, bool& started) {
  Figure figure{.name = "accuracy-over-" + over,
                .title = title,
                .caption = image_intervals,
                .command = "",
                .drawing = Chart{}};
  Chart chart;
  chart.x_label = axis;
  chart.y_label = "accuracy, mean over the tasks, %";
  chart.y_low = 0;
  chart.y_high = 100;
  for (const ReportedRun& run : inputs.runs) {
    std::map<std::string, std::map<double, Mean>> families;
    for (const SavedEvaluation& saved : run.evaluations) {
      const Field all(saved.record, saved.file);
      const bool has_curve = all["curve"].present();
      if (has_curve && all["curve"]["over"].string_or("") == over) {
        for (const Field& p : all["curve"]["points"].items()) {
          const auto x = p["x"].number(), y = p["accuracy"].number();
          const std::vector<Field> ends = p["interval"].items();
          if (!x || !y) continue;
          Mean mean{*y, {}, {}};
          if (ends.size() == 2) mean.low = ends[0].number(), mean.high = ends[1].number();
          families[p["family"].string_or(p["attack"].string_or("?"))][*x] = mean;
          figure.command = saved.command;
        }
      } else if (over == "eps" && all["threat_models"].items().size() > 1) {
        for (const Field& row : all["averages"].items()) {
          const auto x = row["eps_pixels"].number(), y = row["accuracy"].number();
          const std::vector<Field> ends = row["interval"].items();
          if (!x || !y) continue;
          Mean mean{*y, {}, {}};
          if (ends.size() == 2) mean.low = ends[0].number(), mean.high = ends[1].number();
          families[row["attack"].string_or("?")][*x] = mean;
          figure.command = saved.command;
        }
      }
    }
    const auto clean = families.find("clean");
    for (auto& [family, points] : families) {
      if (family == "clean") continue;
      if (over == "eps" && clean != families.end() && !clean->second.empty())
        points.emplace(0, clean->second.begin()->second);
      if (points.size() < 2) continue;
      Series series{inputs.runs.size() == 1 ? family : text(run.label, ", ", family), {}};
      for (const auto& [x, mean] : points)
        series.points.push_back(point_of(over == "steps" ? x : 255 * x, mean));
      chart.series.push_back(std::move(series));
    }
  }
  if (chart.series.empty()) return;
  if (!started) page.section("Accuracy over eps, steps and step size");
  started = true;
  chart.log_x = over == "steps";
  figure.drawing = std::move(chart);
  page.figure(std::move(figure));
}

}  // namespace

std::string train_command(const ReportedRun& run) {
  return text("cmat train ", printable(run.records.folder.string()), " --out NEW");
}

void add_setting(const ReportInputs& inputs, Document& page) {
  page.section("What was run");
  if (inputs.runs.empty()) {
    page.muted("No row of the comparison is finished yet.");
    return;
  }
  const RunView first(inputs.runs.front().records);
  const Field& run = first.run();
  const auto threads = run["threads"].integer();
  std::string protocol = first.results()["protocol"].string_or("");
  if (protocol == "task-aware") protocol += ": the task is given, and only its classes compete";
  page.facts({{"protocol", protocol},
              {"threat model", first.threat_model()},
              {"data", first.results()["source"].string_or("")},
              {"tasks", text(first.learned(), " of ", first.named_tasks(), " learned")},
              {"attacks",
               [&] {
                 std::string all;
                 for (const std::string& attack : first.attacks()) {
                   if (attack == "clean") continue;
                   all += text(all.empty() ? "" : "; ", attack, ": ", first.recipe(attack), ", ",
                               first.denominators(attack));
                 }
                 return all;
               }()},
              {"program",
               text(run["program"].string_or(""), ", libtorch ", run["libtorch"].string_or("?"))},
              {"machine",
               text(run["machine"].string_or(""), ", ", run["device"].string_or(""), ", ",
                    run["instruction_set"].string_or(""),
                    threads ? text(", ", *threads, *threads == 1 ? " thread" : " threads") : "")}});
  Sheet sheet{"runs",
              "The runs",
              {{"run", {}},
               {"method", {}},
               {"objective", {}},
               {"network", {}},
               {"seed", {}},
               {"status", {}},
               {"training time", {}},
               {"images forward", {}},
               {"images backward", {}}},
              {"images forward, backward: images through training passes, attack included."}};
  for (const ReportedRun& each : inputs.runs) {
    const RunView view(each.records);
    const auto seconds = view.run()["seconds"].number();
    const auto count = [&](const char* name) {
      const auto value = view.results()[name].integer();
      return value ? with_commas(*value) : std::string(kUnknown);
    };
    sheet.add_row({each.label, view.results()["method"].string_or("-"),
                   view.results()["objective"].string_or("-"), view.network(), seed_text(view),
                   view.run()["status"].string_or("-"), seconds ? format_duration(*seconds) : "-",
                   count("images_forward"), count("images_backward")});
  }
  page.table(std::move(sheet));
  for (const ReportedRun& each : inputs.runs) page.command(each.label + ":", train_command(each));
}

void add_headline(const ReportInputs& inputs, Document& page) {
  const std::vector<std::string> attacks = all_attacks(inputs);
  if (attacks.empty()) return;
  page.section("Headline numbers");
  const std::vector<Check> checks = checks_of(inputs);
  const auto warnings =
      std::count_if(checks.begin(), checks.end(), [](const Check& check) { return check.raised; });
  if (warnings > 0) {
    page.warning(text(warnings, warnings == 1 ? " check" : " checks",
                      " of the evaluations gave cause for concern; see the last section but one."));
  }
  if (inputs.runs.size() == 1) {
    const RunView view(inputs.runs.front().records);
    std::vector<Document::Card> cards;
    for (const std::string& attack : attacks) {
      const auto mean = own_mean(view, attack);
      cards.push_back({attack == "clean" ? "clean accuracy" : "accuracy under " + attack,
                       mean ? percent(mean->value) + " %" : "-",
                       mean ? text("95% interval ", interval_text(*mean)) : ""});
    }
    for (const std::string& attack : attacks) {
      const bool identical = view.nothing_changed(attack);
      cards.push_back({"forgetting, " + attack, identical ? "0" : view.forgetting(attack),
                       identical ? "points; identical to the bit" : "points"});
    }
    cards.push_back({"chance", percent(view.mean_chance()) + " %", "guessing"});
    cards.push_back({"stored model", view.bytes(), text(view.learned(), " tasks")});
    page.cards(cards);
  }
  Sheet sheet{
      "headline",
      "Mean accuracy over the tasks learned, %",
      {{"run", {}}, {"tasks", {}}},
      {image_intervals, "Each robust number is an upper bound: a stronger attack may find more."}};
  for (const std::string& attack : attacks) {
    sheet.columns.push_back({attack, {}});
    sheet.columns.push_back({attack + " 95% interval", {}});
  }
  sheet.columns.push_back({"chance", {}});
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    std::vector<std::string> cells = {run.label, text(view.learned())};
    for (const std::string& attack : attacks) {
      const auto mean = own_mean(view, attack);
      cells.push_back(mean ? percent(mean->value) : std::string(kUnknown));
      cells.push_back(mean ? interval_text(*mean) : std::string(kUnknown));
    }
    cells.push_back(percent(view.mean_chance()));
    sheet.add_row(std::move(cells));
  }
  page.table(std::move(sheet));
}

void add_difficulty(const ReportInputs& inputs, Document& page) {
  std::set<Difficulty> places;
  std::vector<std::map<Difficulty, Mean>> means;
  for (const ReportedRun& run : inputs.runs) {
    means.push_back(means_of(run));
    for (const auto& [place, mean] : means.back()) places.insert(place);
  }
  if (places.size() < 2) return;
  page.section("Accuracy over the attack's difficulty");
  Chart chart;
  chart.bars = true;
  chart.x_label = "attack and radius, from easy to hard";
  chart.y_label = "accuracy, mean over the tasks, %";
  chart.y_low = 0;
  chart.y_high = 100;
  if (const auto chance = RunView(inputs.runs.front().records).mean_chance()) {
    chart.reference = in_percent(*chance);
    chart.reference_label = "chance";
  }
  Sheet sheet{"difficulty",
              "Mean accuracy over the tasks, by attack and radius, %",
              {{"attack", {}}},
              {image_intervals}};
  for (const Difficulty& place : places) {
    chart.categories.push_back(place.label());
    sheet.columns[0].cells.push_back(place.label());
  }
  for (std::size_t r = 0; r < inputs.runs.size(); ++r) {
    Series series{inputs.runs[r].label, {}};
    Column value{series.name, {}}, ends{series.name + " 95% interval", {}};
    double x = 0;
    for (const Difficulty& place : places) {
      const auto found = means[r].find(place);
      const bool known = found != means[r].end();
      value.cells.push_back(known ? percent(found->second.value) : std::string(kUnknown));
      ends.cells.push_back(known ? interval_text(found->second) : std::string(kUnknown));
      if (known) series.points.push_back(point_of(x, found->second));
      x += 1;
    }
    chart.series.push_back(std::move(series));
    sheet.columns.push_back(std::move(value));
    sheet.columns.push_back(std::move(ends));
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

void add_comparisons(const ReportInputs& inputs, Document& page) {
  for (const nlohmann::json& comparison : inputs.comparisons) {
    const Field all(comparison, "comparison.json");
    page.section("Comparison " + all["name"].string_or(""));
    Sheet sheet{"comparison",
                "Mean accuracy over the tasks by method and attack, %",
                {{"method", {}},
                 {"attack", {}},
                 {"mean", {}},
                 {"95% interval", {}},
                 {"spread over seeds", {}},
                 {"runs", {}},
                 {"chance", {}},
                 {"floor", {}}},
                {"floor: a robust linear classifier."}};
    Chart chart;
    chart.bars = true;
    chart.x_label = "attack";
    chart.y_label = "accuracy, mean over the tasks, %";
    chart.y_low = 0;
    chart.y_high = 100;
    for (const Field& row : all["table"].items()) {
      const std::string label = row["label"].string_or(row["group"].string_or("-"));
      const std::string attack = row["attack"].string_or("-");
      const auto mean = row["mean"].number();
      const std::vector<Field> ends = row["interval"].items();
      const bool interval = ends.size() == 2;
      const auto runs = row["runs"].integer();
      sheet.add_row(
          {label, attack, percent(mean),
           interval ? percent_interval(ends[0].number(), ends[1].number()) : std::string(kUnknown),
           percent(row["spread"].number()), runs ? text(*runs) : std::string(kUnknown),
           percent(row["chance"].number()), percent(row["floor"].number())});
      if (!mean) continue;
      auto place = std::find(chart.categories.begin(), chart.categories.end(), attack);
      if (place == chart.categories.end())
        place = chart.categories.insert(chart.categories.end(), attack);
      const auto x = static_cast<double>(place - chart.categories.begin());
      auto series = std::find_if(chart.series.begin(), chart.series.end(),
                                 [&](const Series& s) { return s.name == label; });
      if (series == chart.series.end()) series = chart.series.insert(series, {label, {}});
      Mean value{*mean, {}, {}};
      if (interval) value.low = ends[0].number(), value.high = ends[1].number();
      series->points.push_back(point_of(x, value));
      if (const auto chance = row["chance"].number()) {
        chart.reference = in_percent(*chance);
        chart.reference_label = "chance";
      }
    }
    const std::string command = "cmat compare " + all["name"].string_or("");
    if (!chart.categories.empty()) {
      page.figure({.name = "comparison",
                   .title = "Accuracy of each method under each attack",
                   .caption = "95% intervals.",
                   .command = command,
                   .drawing = std::move(chart)});
    }
    if (sheet.rows() > 0) page.table(std::move(sheet));
    Sheet contrasts{"contrasts",
                    "Differences between methods, in points",
                    {{"a", {}},
                     {"b", {}},
                     {"attack", {}},
                     {"a - b", {}},
                     {"95% interval", {}},
                     {"p", {}},
                     {"p, Holm", {}},
                     {"verdict", {}}},
                    {}};
    for (const Field& row : all["contrasts"].items()) {
      const std::vector<Field> ends = row["interval"].items();
      const auto p = row["p"].number(), holm = row["p_holm"].number();
      contrasts.add_row({row["a"].string_or("-"), row["b"].string_or("-"),
                         row["attack"].string_or("-"), points(row["difference"].number(), true),
                         ends.size() == 2 ? percent_interval(ends[0].number(), ends[1].number())
                                          : std::string(kUnknown),
                         p ? fixed(*p, 4) : std::string(kUnknown),
                         holm ? fixed(*holm, 4) : std::string(kUnknown),
                         row["verdict"].string_or("-")});
    }
    if (contrasts.rows() > 0) page.table(std::move(contrasts));
    for (const Field& row : all["rows"].items()) {
      const std::string status = row["status"].string_or("");
      if (status == "done" || status.empty()) continue;
      page.warning(text("The row ", row["name"].string_or("?"), " is ", status,
                        row["reason"].string_or("").empty() ? "" : ": ",
                        row["reason"].string_or("")));
    }
  }
}

void add_curves(const ReportInputs& inputs, Document& page) {
  bool started = false;
  add_one_curve(inputs, "eps", "Accuracy over the radius", "eps, 1/255 of the pixel range", page,
                started);
  add_one_curve(inputs, "steps", "Accuracy over the attack's steps", "steps (logarithmic)", page,
                started);
  add_one_curve(inputs, "step-size", "Accuracy over the attack's step size",
                "step, 1/255 of the pixel range", page, started);
  if (started || inputs.runs.empty()) return;
  page.section("Accuracy over eps, steps and step size");
  page.command("Not measured; this command does it for eps:",
               text("cmat eval ", printable(inputs.runs.front().records.folder.string()),
                    " --attack clean,pgd20 --eps 2/255,4/255,8/255,16/255 --save"));
}

void add_positions(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const std::string& attack : all_attacks(inputs)) {
    Chart chart;
    chart.x_label = "task, in the order of learning";
    chart.y_label = "accuracy after the last task, %";
    chart.y_low = 0;
    chart.y_high = 100;
    std::size_t most = 0;
    for (const ReportedRun& run : inputs.runs) {
      const RunView view(run.records);
      Series series{run.label, {}};
      for (std::int64_t task = 1; task <= view.learned(); ++task) {
        const auto accuracy = view.accuracy(task, attack);
        if (!accuracy) continue;
        const std::vector<Field> ends = view.per_task(task, attack)["interval"].items();
        Mean mean{*accuracy, {}, {}};
        if (ends.size() == 2) mean.low = ends[0].number(), mean.high = ends[1].number();
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
