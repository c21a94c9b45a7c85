// Accuracy matrices, confusion matrices and the scores from them.
#include "cmat/core/error.h"
#include "cmat/report/page/accuracy.h"
#include "cmat/report/page/parts.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

HeatMap matrix_map(const RunView& view, const std::string& attack) {
  HeatMap map{"after task", "task", "accuracy, %", {}, {}, {}, {}, 0, 100};
  const std::vector<Field> rows = view.results()["matrices"][attack].items();
  map.rows = map.columns = numbers_to(rows.size());
  for (const Field& row : rows) {
    std::vector<std::optional<double>> values;
    for (const Field& entry : row.items()) {
      const auto accuracy = entry.number();
      values.push_back(accuracy ? std::optional(in_percent(*accuracy)) : std::nullopt);
    }
    map.values.push_back(std::move(values));
  }
  return map;
}

std::vector<std::string> class_names(const RunView& view, std::int64_t task) {
  const std::vector<Field> tasks = view.results()["tasks"].items();
  std::vector<std::string> names;
  if (task < 1 || static_cast<std::size_t>(task) > tasks.size()) return names;
  for (const Field& each : tasks[static_cast<std::size_t>(task - 1)]["classes"].items())
    names.push_back(each.string_or("?"));
  return names;
}

HeatMap confusion_map(const std::vector<Field>& rows, std::vector<std::string> names) {
  for (std::size_t i = names.size(); i < rows.size(); ++i) names.push_back(text(i));
  HeatMap map{"true class", "predicted", "of the true class, %", names, names, {}, {}, 0, 100};
  for (const Field& row : rows) {
    double sum = 0;
    for (const Field& entry : row.items()) sum += entry.number().value_or(0);
    std::vector<std::optional<double>> values;
    std::vector<std::string> labels;
    for (const Field& entry : row.items()) {
      const double count = entry.number().value_or(0);
      values.push_back(sum > 0 ? std::optional(100 * count / sum) : std::nullopt);
      labels.push_back(fixed(count, 0));
    }
    map.values.push_back(std::move(values));
    map.labels.push_back(std::move(labels));
  }
  return map;
}

Sheet scores_sheet(const ReportInputs& inputs) {
  Sheet sheet{"scores",
              "Precision, recall and F1, macro averages over a task's classes, %",
              {{"run", {}},
               {"task", {}},
               {"attack", {}},
               {"accuracy", {}},
               {"precision", {}},
               {"recall", {}},
               {"F1", {}}},
              {}};
  for (const ReportedRun& run : inputs.runs) {
    const Field all = RunView(run.records).results()["per_task"];
    for (const Field& row : all.items()) {
      sheet.add_row({run.label, text(row["task"].integer().value_or(0)),
                     row["attack"].string_or("-"), percent(row["accuracy"].number()),
                     percent(row["precision"].number()), percent(row["recall"].number()),
                     percent(row["f1"].number())});
    }
  }
  return sheet;
}

void add_confusions(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    std::vector<Figure> figures;
    for (const Field& row : view.results()["per_task"].items()) {
      const std::vector<Field> rows = row["confusion"].items();
      if (rows.empty()) continue;
      const std::int64_t task = row["task"].integer().value_or(0);
      const std::string attack = row["attack"].string_or("?");
      figures.push_back(
          {.name = file_stem(inputs, text("confusion-", task, '-', slug(attack)), run),
           .title = text("Task ", task, ", ", attack),
           .caption = "Numbers of test images.",
           .command = "",
           .drawing = confusion_map(rows, class_names(view, task))});
    }
    if (figures.empty()) continue;
    if (!started) page.section("Confusion matrices");
    started = true;
    page.command(run.label + ":", train_command(run));
    page.begin_fold(text(figures.size(), " confusion matrices", of_run(inputs, run)),
                    figures.size() <= 12);
    page.figures(std::move(figures));
    page.end_fold();
  }
}

}  // namespace

void add_matrices(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    std::vector<Figure> figures;
    std::vector<Sheet> tables;
    bool large = false;
    for (const std::string& attack : view.attacks()) {
      HeatMap map = matrix_map(view, attack);
      if (map.rows.empty()) continue;
      if (!started) page.section("Accuracy matrices");
      started = true;
      const std::string name = file_stem(inputs, "matrix-" + slug(attack), run);
      const std::string title = text("Accuracy after each task, ", attack, of_run(inputs, run));
      tables.push_back(matrix_sheet(map, name, title + ", %"));
      large |= map.rows.size() > 8;
      figures.push_back({.name = name,
                         .title = title,
                         .caption = "Row: the last task learned. Column: the task that is tested.",
                         .command = train_command(run),
                         .drawing = std::move(map)});
    }
    if (large) {
      for (Figure& figure : figures) page.figure(std::move(figure));
    } else if (!figures.empty()) {
      page.figures(std::move(figures));
    }
    for (Sheet& sheet : tables) page.table(std::move(sheet));
  }
}

void add_scores(const ReportInputs& inputs, Document& page) {
  Sheet sheet = scores_sheet(inputs);
  if (sheet.rows() == 0) return;
  add_confusions(inputs, page);
  page.section("Precision, recall and F1");
  page.table(std::move(sheet));
}

}  // namespace cmat::report
