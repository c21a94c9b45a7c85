#include "cmat/report/tables.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <set>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/progress.h"
#include "cmat/report/layout.h"
#include "cmat/report/run_view.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

constexpr std::size_t name_width = 24;

std::string joined(const std::vector<std::string>& parts, std::string_view separator = ", ") {
  std::string result;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    result.append(result.empty() ? "" : separator).append(part);
  }
  return result;
}

std::string labelled(std::string_view label, const std::optional<std::string>& value) {
  return value ? text(label, *value) : std::string();
}

std::string headline(const RunView& view) {
  const std::int64_t learned = view.learned(), named = view.named_tasks();
  const auto seconds = view.run()["seconds"].number();
  const std::string tasks = named > learned
                                ? text(learned, " of ", named, " tasks learned")
                                : text(learned, learned == 1 ? " task" : " tasks", " learned");
  return joined({text("Run ", view.label(), ": ", view.run()["status"].string_or("status unknown")),
                 tasks, seconds ? format_duration(*seconds) : ""}) +
         "\n\n";
}

std::string bytes_line(const Field& bytes) {
  const auto total = bytes["total"].number();
  if (!total) return "";
  double parts = 0;
  for (const Field& task : bytes["tasks"].items()) {
    parts += task["picks"].number().value_or(0) + task["part"].number().value_or(0);
  }
  const auto part = [](std::string_view name, std::optional<double> value) {
    return value ? text(name, " ", format_bytes(*value)) : std::string();
  };
  const std::string detail =
      joined({part("values", bytes["values"].number()), part("owners", bytes["owners"].number()),
              bytes["tasks"].present() ? part("tasks' own parts and picks", parts) : ""});
  return detail.empty() ? format_bytes(*total) : text(format_bytes(*total), ": ", detail);
}

std::string facts(const RunView& view) {
  const Field& run = view.run();
  const Field& results = view.results();
  const auto threads = run["threads"].integer();
  const auto seed = run["seed"].present() ? run["seed"].integer() : results["seed"].integer();
  return format_facts(
      {{"method", joined({results["method"].string_or(""),
                          labelled("objective ", results["objective"].string())})},
       {"network", view.network()},
       {"source", results["source"].string_or("")},
       {"threat model", view.threat_model()},
       {"protocol", results["protocol"].string_or("")},
       {"seed", seed ? text(*seed) : ""},
       {"bytes", bytes_line(results["bytes"])},
       {"made by",
        joined({run["program"].string_or(""), labelled("libtorch ", run["libtorch"].string()),
                run["device"].string_or(""), run["instruction_set"].string_or(""),
                threads ? text(*threads, *threads == 1 ? " thread" : " threads") : ""})},
       {"machine", run["machine"].string_or("")},
       {"started", run["started"].string_or("")}});
}

/// The entry of `weights` that speaks of a task, or an absent field.
Field weights_of(const RunView& view, std::int64_t task) {
  for (const Field& each : view.results()["weights"].items()) {
    if (each["task"].integer() == task) return each;
  }
  static const nlohmann::json absent;
  return {absent, "results.json"};
}

std::string share(const Field& weights, std::string_view part) {
  const auto value = weights[part].number(), total = weights["total"].number();
  return value && total && *total > 0 ? percent(*value / *total) : std::string(kUnknown);
}

std::vector<Column> task_columns(const RunView& view) {
  std::vector<Column> columns = {{"task", {}}, {"name", {}}, {"classes", {}}, {"chance", {}}};
  const std::vector<Field> tasks = view.results()["tasks"].items();
  const auto rows = std::max(view.learned(), view.named_tasks());
  for (std::int64_t t = 1; t <= rows; ++t) {
    columns[0].cells.push_back(text(t));
    const bool named = t <= view.named_tasks();
    const auto i = static_cast<std::size_t>(t - 1);
    const std::size_t classes = named ? tasks[i]["classes"].items().size() : 0;
    columns[1].cells.push_back(
        clipped(named ? tasks[i]["name"].string_or(kUnknown) : kUnknown, name_width));
    columns[2].cells.push_back(classes > 0 ? text(classes) : std::string(kUnknown));
    columns[3].cells.push_back(percent(named ? tasks[i]["chance"].number() : std::nullopt));
  }
  for (const std::string& attack : view.attacks()) {
    Column accuracy{attack, {}}, interval{"95% interval", {}, /*stays_with_previous=*/true};
    for (std::int64_t t = 1; t <= rows; ++t) {
      accuracy.cells.push_back(percent(view.accuracy(t, attack)));
      const std::vector<Field> bounds = view.per_task(t, attack)["interval"].items();
      interval.cells.push_back(bounds.size() == 2
                                   ? percent_interval(bounds[0].number(), bounds[1].number())
                                   : std::string(kUnknown));
    }
    columns.push_back(std::move(accuracy));
    columns.push_back(std::move(interval));
  }
  if (view.results()["weights"].items().empty()) return columns;
  for (const char* part : {"own", "picked", "free"}) {
    Column column{part, {}, columns.back().header != "95% interval"};
    for (std::int64_t t = 1; t <= rows; ++t)
      column.cells.push_back(share(weights_of(view, t), part));
    columns.push_back(std::move(column));
  }
  return columns;
}

std::string protocol_in_words(const RunView& view) {
  const std::string protocol = view.results()["protocol"].string_or("");
  if (protocol.empty()) return "";
  if (protocol == "task-aware") {
    return "Protocol task-aware: the task is given, and only its classes compete, under attack "
           "too.";
  }
  return text("Protocol ", protocol, ".");
}

std::string attack_notes(const RunView& view) {
  std::string result;
  for (const std::string& attack : view.attacks()) {
    const std::string recipe = view.recipe(attack);
    const std::string what = recipe.empty() && attack == "clean" ? "images as they are" : recipe;
    const std::string note = joined({what, view.denominators(attack)}, "; ");
    if (!note.empty()) result += footnote(text(attack, ": ", note, "."));
  }
  return result;
}

std::string task_notes(const RunView& view) {
  std::string result = footnote(text(
      "Accuracy in percent of test images after the last task learned, with Wilson's 95% interval; "
      "chance: guessing. ",
      protocol_in_words(view)));
  result += attack_notes(view);
  if (!view.results()["weights"].items().empty()) {
    result += footnote(
        "own, picked, free: percent of all shared weights that the task owns, uses of its "
        "predecessors, "
        "and left free.");
  }
  return result + footnote("One seed; the intervals speak of test images only.");
}

std::string averages(const RunView& view) {
  std::vector<std::vector<std::string>> rows = {
      {"attack", "average", "chance", "backward transfer", "forgetting"}};
  bool identical = false;
  for (const std::string& attack : view.attacks()) {
    const Field summary = view.summary(attack);
    const bool one_task = view.learned() < 2;
    const auto transfer = one_task ? std::nullopt : summary["backward_transfer"].number();
    rows.push_back(
        {attack,
         percent_with_error(summary["average"].number(), summary["standard_error"].number()),
         percent(view.mean_chance()), points(transfer, /*show_plus=*/true),
         view.forgetting(attack)});
    identical |= view.nothing_changed(attack);
  }
  std::string result = format_table(rows);
  result += footnote(
      "average: mean over the tasks ± standard error, in percent; backward transfer: points gained "
      "since "
      "a task was learned; forgetting: points lost since its best, mean over all tasks but the "
      "last.");
  if (identical) {
    result += footnote(
        "identical: the network's function on every earlier task was proven unchanged, to the "
        "bit.");
  }
  return result;
}

/// (after, task) of the matrix entries that were proven instead of measured.
std::set<std::pair<std::int64_t, std::int64_t>> proven_entries(const RunView& view,
                                                               const std::string& attack) {
  std::set<std::pair<std::int64_t, std::int64_t>> entries;
  for (const Measurement& each : view.measurements()) {
    if (each.identical && each.attack == attack) entries.emplace(each.after, each.task);
  }
  return entries;
}

std::string one_matrix(const RunView& view, const std::string& attack) {
  const std::vector<Field> rows = view.results()["matrices"][attack].items();
  const auto proven = proven_entries(view, attack);
  const std::string measured = proven.empty() ? "" : " ";  // as wide as the mark
  std::vector<Column> columns = {{"after task", {}}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    columns[0].cells.push_back(text(i + 1));
    columns.push_back({text(i + 1, measured), {}});
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::vector<Field> entries = rows[i].items();
    for (std::size_t j = 0; j < rows.size(); ++j) {
      const bool known = j <= i && j < entries.size();
      const bool same = proven.contains({i + 1, j + 1});
      columns[j + 1].cells.push_back(known ? percent(entries[j].number()) + (same ? "=" : measured)
                                           : "");
    }
  }
  std::string result = text("Accuracy in percent, ", attack, "\n\n", format_columns(columns, 1));
  if (!proven.empty()) {
    result += footnote(
        "=: not measured again; the network's function on that task was proven unchanged, to the "
        "bit.");
  }
  return result;
}

/// A value of an event in a few characters: numbers rounded, long strings (digests) cut.
std::string brief(const nlohmann::json& value, int depth) {
  constexpr std::size_t longest_digest = 20;
  if (value.is_number_float()) return text(std::setprecision(4), value.get<double>());
  if (value.is_string()) {
    const std::string shown = printable(value.get_ref<const std::string&>());
    return shown.find(' ') == std::string::npos ? clipped(shown, longest_digest) : shown;
  }
  if (!value.is_structured()) return value.dump();
  if (depth == 3) return "(more)";  // the file decides how deep it is nested
  std::vector<std::string> parts;
  for (const auto& [key, item] : value.items()) {
    const std::string shown = brief(item, depth + 1);
    parts.push_back(value.is_object() ? text(printable(key), " ", shown) : shown);
  }
  return text("(", joined(parts), ")");
}

}  // namespace

std::string show_run(const Records& records) {
  const RunView view(records);
  std::string result = headline(view) + facts(view) + '\n';
  if (view.learned() == 0) return result + "No results yet: the first task is not evaluated.\n";
  return result + format_columns(task_columns(view), 2) + '\n' + task_notes(view) + '\n' +
         averages(view);
}

std::string show_matrices(const Records& records) {
  const RunView view(records);
  std::string result;
  for (const std::string& attack : view.attacks()) {
    if (view.results()["matrices"][attack].items().empty()) continue;
    result += (result.empty() ? "" : "\n") + one_matrix(view, attack);
  }
  if (result.empty()) return "No accuracy matrices yet: the first task is not evaluated.\n";
  return result + '\n' +
         footnote("Rows: the last task learned; columns: the task that is tested. One seed.");
}

std::string show_events(const std::vector<nlohmann::json>& events) {
  constexpr std::array<std::string_view, 3> first = {"time", "event", "task"};
  std::string result;
  for (const nlohmann::json& event : events) {
    std::vector<std::string> parts;
    for (const std::string_view key : first) {
      const auto found = event.find(key);
      if (found == event.end()) continue;
      parts.push_back(text(key == "task" ? "task " : "", brief(*found, 0)));
    }
    for (const auto& [key, value] : event.items()) {
      if (std::find(first.begin(), first.end(), key) != first.end()) continue;
      parts.push_back(text(printable(key), "=", brief(value, 0)));
    }
    result += footnote(joined(parts, " "));
  }
  return result;
}

}  // namespace cmat::report
