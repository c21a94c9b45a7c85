#include <algorithm>
#include <set>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/report/layout.h"
#include "cmat/report/run_view.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

constexpr std::size_t label_width = 28;

struct Row {
  RunView view;
  std::string label;
};

/// Runs whose numbers may stand side by side.
using Group = std::vector<const Row*>;

bool agree(const std::string& a, const std::string& b) { return a.empty() || b.empty() || a == b; }

/// One stream may be the beginning of the other: a run need not be finished.
bool same_stream(const RunView& a, const RunView& b) {
  const auto one = a.task_names(), other = b.task_names();
  const auto shared = static_cast<std::ptrdiff_t>(std::min(one.size(), other.size()));
  return std::equal(one.begin(), one.begin() + shared, other.begin());
}

bool comparable(const RunView& a, const RunView& b) {
  for (const char* field : {"protocol", "source"}) {
    if (!agree(a.results()[field].string_or(""), b.results()[field].string_or(""))) return false;
  }
  for (const std::string& attack : a.attacks()) {
    if (!agree(a.recipe(attack), b.recipe(attack))) return false;
  }
  return agree(a.threat_model(), b.threat_model()) && same_stream(a, b);
}

std::vector<Group> grouped(const std::vector<Row>& rows) {
  std::vector<Group> groups;
  for (const Row& row : rows) {
    const auto fits = [&](const Group& group) {
      return std::all_of(group.begin(), group.end(),
                         [&](const Row* other) { return comparable(row.view, other->view); });
    };
    const auto found = std::find_if(groups.begin(), groups.end(), fits);
    if (found == groups.end()) {
      groups.push_back({&row});
    } else {
      found->push_back(&row);
    }
  }
  return groups;
}

/// The folder's name; the whole path where two runs would share it.
std::vector<Row> labelled(const std::vector<Records>& runs) {
  std::vector<Row> rows;
  std::multiset<std::string> names;
  for (const Records& records : runs) {
    rows.push_back({RunView(records), ""});
    names.insert(rows.back().view.label());
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string name = rows[i].view.label();
    rows[i].label = names.count(name) == 1 ? clipped(name, label_width)
                                           : printable(runs[i].folder.lexically_normal().string());
  }
  return rows;
}

std::vector<std::string> attacks_of(const Group& group) {
  std::vector<std::string> attacks;
  for (const Row* row : group) {
    for (const std::string& attack : row->view.attacks()) {
      if (std::find(attacks.begin(), attacks.end(), attack) == attacks.end())
        attacks.push_back(attack);
    }
  }
  return attacks;
}

std::string tasks_done(const RunView& view) {
  return view.named_tasks() > view.learned() ? text(view.learned(), " of ", view.named_tasks())
                                             : text(view.learned());
}

std::string seed_of(const RunView& view) {
  const auto seed = view.results()["seed"].present() ? view.results()["seed"].integer()
                                                     : view.run()["seed"].integer();
  return seed ? text(*seed) : std::string(kUnknown);
}

/// One number, or the range where the runs stand at different tasks; kUnknown when no run knows.
std::string chance_of(const Group& group) {
  std::vector<double> known;
  for (const Row* row : group) {
    if (const auto chance = row->view.mean_chance()) known.push_back(*chance);
  }
  if (known.empty()) return std::string(kUnknown);
  const auto [low, high] = std::minmax_element(known.begin(), known.end());
  const std::string first = percent(*low), last = percent(*high);
  return first == last ? first : text(first, " to ", last);
}

/// A column with one cell a run and an empty one in the row of chance.
template <typename Cell>
Column column(const Group& group, std::string header, Cell cell, bool stays_with_previous = false) {
  Column result{std::move(header), {}, stays_with_previous};
  for (const Row* row : group) result.cells.push_back(cell(*row));
  result.cells.emplace_back();
  return result;
}

std::vector<Column> compared_columns(const Group& group) {
  const auto field = [](const char* name) {
    return [name](const Row& row) { return row.view.results()[name].string_or(kUnknown); };
  };
  std::vector<Column> columns = {
      column(group, "run", [](const Row& row) { return row.label; }),
      column(group, "method", field("method")),
      column(group, "objective", field("objective")),
      column(group, "network",
             [](const Row& row) {
               const std::string network = row.view.network();
               return network.empty() ? std::string(kUnknown) : network;
             }),
      column(group, "tasks", [](const Row& row) { return tasks_done(row.view); }),
      column(group, "seed", [](const Row& row) { return seed_of(row.view); }),
  };
  columns[0].cells.back() = "chance";
  const std::vector<std::string> attacks = attacks_of(group);
  for (const std::string& attack : attacks) {
    columns.push_back(column(group, attack, [&](const Row& row) {
      const Field summary = row.view.summary(attack);
      return percent_with_error(summary["average"].number(), summary["standard_error"].number());
    }));
    columns.back().cells.back() = chance_of(group);
  }
  for (std::size_t i = 0; i < attacks.size(); ++i) {
    columns.push_back(column(
        group, text("lost ", attacks[i]),
        [&](const Row& row) { return row.view.forgetting(attacks[i]); }, i > 0));
  }
  columns.push_back(column(
      group, "bytes", [](const Row& row) { return row.view.bytes(); }, true));
  return columns;
}

/// The first non-empty answer of the group's runs.
template <typename Ask>
std::string first_known(const Group& group, Ask ask) {
  for (const Row* row : group) {
    if (std::string answer = ask(row->view); !answer.empty()) return answer;
  }
  return "";
}

std::string group_notes(const Group& group) {
  const std::string protocol =
      first_known(group, [](const RunView& v) { return v.results()["protocol"].string_or(""); });
  const std::string source =
      first_known(group, [](const RunView& v) { return v.results()["source"].string_or(""); });
  const std::string threat = first_known(group, [](const RunView& v) { return v.threat_model(); });
  std::string setting;
  for (const auto& [name, value] :
       {std::pair{"source ", source}, {"protocol ", protocol}, {"threat model ", threat}}) {
    if (!value.empty()) setting += text(setting.empty() ? "" : ", ", name, value);
  }
  std::string result;
  if (!setting.empty()) result += footnote(text("Setting: ", setting, "."));
  for (const std::string& attack : attacks_of(group)) {
    const std::string recipe =
        first_known(group, [&](const RunView& v) { return v.recipe(attack); });
    const std::string images =
        first_known(group, [&](const RunView& v) { return v.denominators(attack); });
    const std::string what = recipe.empty() && attack == "clean" ? "images as they are" : recipe;
    const std::string between = what.empty() || images.empty() ? "" : "; ";
    if (!what.empty() || !images.empty()) {
      result += footnote(text(attack, ": ", what, between, images, "."));
    }
  }
  return result;
}

std::string closing_notes(const std::vector<Row>& rows) {
  bool identical = false, unequal = false;
  for (const Row& row : rows) {
    for (const std::string& attack : row.view.attacks()) {
      identical |= row.view.nothing_changed(attack);
    }
    unequal |= row.view.learned() != rows.front().view.learned();
  }
  std::string result = footnote(
      "Mean accuracy over the tasks learned ± standard error, in percent; lost: forgetting, the "
      "points "
      "lost since a task's best, mean over all tasks but the last; chance: guessing.");
  if (identical) {
    result += footnote(
        "identical: the network's function on every earlier task was proven unchanged, to the "
        "bit.");
  }
  if (unequal) {
    result += footnote(
        "The runs have learned different numbers of tasks, so their means are not over the same "
        "ones.");
  }
  return result + footnote("One seed a run; the standard errors speak of test images only.");
}

}  // namespace

std::string compare_runs(const std::vector<Records>& runs) {
  if (runs.empty()) usage_error("there are no runs to compare");
  const std::vector<Row> rows = labelled(runs);
  const std::vector<Group> groups = grouped(rows);
  std::string result;
  if (groups.size() > 1) {
    result += footnote(
                  "These runs differ in source, tasks, protocol, threat model or attack, so their "
                  "numbers do not stand in one table.") +
              '\n';
  }
  for (const Group& group : groups) {
    result += format_columns(compared_columns(group), 1) + '\n' + group_notes(group) + '\n';
  }
  return result + closing_notes(rows);
}

}  // namespace cmat::report
