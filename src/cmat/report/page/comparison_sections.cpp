// Comparisons: each method under each attack, the contrasts, and the rows without a result.
#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/core/listed.h"
#include "cmat/report/page/accuracy.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

Sheet comparison_sheet(const Field& comparison) {
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
  for (const Field& row : comparison["table"].items()) {
    const auto mean = row["mean"].number();
    const auto runs = row["runs"].integer();
    sheet.add_row({row["label"].string_or(row["group"].string_or("-")),
                   row["attack"].string_or("-"), percent(mean),
                   interval_text(mean_of(mean.value_or(0), row["interval"])),
                   percent(row["spread"].number()), runs ? text(*runs) : std::string(kUnknown),
                   percent(row["chance"].number()), percent(row["floor"].number())});
  }
  return sheet;
}

/// Bars of each method over the attacks.
Chart comparison_chart(const Field& comparison) {
  Chart chart = accuracy_chart("attack");
  chart.bars = true;
  for (const Field& row : comparison["table"].items()) {
    const auto mean = row["mean"].number();
    if (!mean) continue;
    const std::string label = row["label"].string_or(row["group"].string_or("-"));
    const std::string attack = row["attack"].string_or("-");
    auto place = std::find(chart.categories.begin(), chart.categories.end(), attack);
    if (place == chart.categories.end())
      place = chart.categories.insert(chart.categories.end(), attack);
    const auto x = static_cast<double>(place - chart.categories.begin());
    auto series = std::find_if(chart.series.begin(), chart.series.end(),
                               [&](const Series& s) { return s.name == label; });
    if (series == chart.series.end()) series = chart.series.insert(series, {label, {}});
    series->points.push_back(point_of(x, mean_of(*mean, row["interval"])));
    mark_chance(chart, row["chance"].number());
  }
  return chart;
}

Sheet contrasts_sheet(const Field& comparison) {
  Sheet sheet{"contrasts",
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
  for (const Field& row : comparison["contrasts"].items()) {
    const auto difference = row["difference"].number();
    const auto p = row["p"].number(), holm = row["p_holm"].number();
    sheet.add_row({row["a"].string_or("-"), row["b"].string_or("-"), row["attack"].string_or("-"),
                   points(difference, true),
                   interval_text(mean_of(difference.value_or(0), row["interval"])),
                   p ? fixed(*p, 4) : std::string(kUnknown),
                   holm ? fixed(*holm, 4) : std::string(kUnknown), row["verdict"].string_or("-")});
  }
  return sheet;
}

/// The first run of each row.
std::vector<Field> rows_once(const Field& comparison) {
  std::vector<Field> rows;
  std::set<std::string> seen;
  for (const Field& row : comparison["rows"].items()) {
    if (seen.insert(row["name"].string_or("?")).second) rows.push_back(row);
  }
  return rows;
}

/// Numbers of papers stand apart from those that were measured here.
Sheet published_sheet(const Field& comparison) {
  Sheet sheet{"published",
              "What papers say of such methods, and what those numbers measured",
              {{"method", {}}, {"published, %", {}}, {"measured", {}}},
              {}};
  for (const Field& row : rows_once(comparison)) {
    const std::string number = row["published"]["text"].string_or("");
    if (number.empty()) continue;
    sheet.add_row({row["label"].string_or("-"), number, row["published"]["note"].string_or("-")});
  }
  return sheet;
}

Sheet notes_sheet(const Field& comparison) {
  Sheet sheet{"notes", "Notes on methods", {{"method", {}}, {"note", {}}}, {}};
  for (const Field& row : rows_once(comparison)) {
    const std::string note = row["note"].string_or("");
    if (!note.empty()) sheet.add_row({row["label"].string_or("-"), note});
  }
  return sheet;
}

/// What is missing, one warning for all runs that wait for the same.
void warn_of_undone(const Field& all, Document& page) {
  std::map<std::string, std::vector<std::string>> waiting;  // by status
  for (const Field& row : all["rows"].items()) {
    const std::string status = row["status"].string_or(""), reason = row["reason"].string_or("");
    const std::string run = row["run"].string_or(row["name"].string_or("?"));
    if (status == "done" || status.empty()) continue;
    if (reason.empty()) {
      waiting[status].push_back(run);
    } else {
      page.warning(text("The run ", run, " is ", status, ": ", reason));
    }
  }
  for (const auto& [status, runs] : waiting) {
    page.warning(
        text(runs.size() == 1 ? "A run is " : "Some runs are ", status, ": ", listed(runs)));
  }
}

}  // namespace

void add_comparisons(const ReportInputs& inputs, Document& page) {
  for (const nlohmann::json& comparison : inputs.comparisons) {
    const Field all(comparison, "comparison.json");
    page.section("Comparison " + all["name"].string_or(""));
    Sheet sheet = comparison_sheet(all);
    Chart chart = comparison_chart(all);
    if (!chart.categories.empty()) {
      page.figure({.name = "comparison",
                   .title = "Accuracy of each method under each attack",
                   .caption = "95% intervals.",
                   .command = "cmat compare " + all["name"].string_or(""),
                   .drawing = std::move(chart)});
    }
    if (sheet.rows() > 0) page.table(std::move(sheet));
    for (Sheet& more : std::array{notes_sheet(all), contrasts_sheet(all), published_sheet(all)}) {
      if (more.rows() > 0) page.table(std::move(more));
    }
    warn_of_undone(all, page);
  }
}

}  // namespace cmat::report
