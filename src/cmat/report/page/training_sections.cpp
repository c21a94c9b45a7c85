// Training curves, and what was stored in the end: growth and bytes.
#include <algorithm>
#include <map>

#include "cmat/core/error.h"
#include "cmat/report/page/accuracy.h"
#include "cmat/report/page/parts.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

/// Bytes after each task: what it added, and all by the number of tasks.
struct ByteRow {
  std::int64_t task = 0, own = 0, picked = 0, free = 0, total_weights = 0, marginal = 0, stored = 0;
  double width = 1;
};

std::vector<ByteRow> byte_rows(const RunView& view) {
  const std::string method = view.results()["method"].string_or("");
  const bool separate = method == "individual" || method == "small",
             overwritten = method == "finetune" || method.starts_with("joint");
  std::map<std::int64_t, std::pair<std::int64_t, std::int64_t>> parts;  // picks, part
  for (const Field& each : view.results()["bytes"]["tasks"].items()) {
    parts[each["task"].integer().value_or(0)] = {each["picks"].integer().value_or(0),
                                                 each["part"].integer().value_or(0)};
  }
  const bool owners = view.results()["bytes"]["owners"].number().value_or(0) > 0;
  std::vector<ByteRow> rows;
  std::int64_t tasks_bytes = 0, separate_values = 0;
  for (const Field& each : view.results()["weights"].items()) {
    ByteRow row;
    row.task = each["task"].integer().value_or(0);
    row.own = each["own"].integer().value_or(0);
    row.picked = each["picked"].integer().value_or(0);
    row.free = each["free"].integer().value_or(0);
    row.total_weights = each["total"].integer().value_or(0);
    row.width = each["width"].number().value_or(1);
    const auto [picks, part] = parts[row.task];
    const std::int64_t values = separate ? 4 * row.total_weights : overwritten ? 0 : 4 * row.own;
    row.marginal = values + picks + part;
    tasks_bytes += picks + part;
    separate_values += 4 * row.total_weights;
    row.stored = tasks_bytes + (separate ? separate_values : (owners ? 5 : 4) * row.total_weights);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

void add_training(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    Series loss{"loss", {}}, accuracy{"training images", {}};
    std::vector<std::pair<double, std::string>> steps;
    double epoch = 0;
    std::int64_t last_task = 0;
    for (const nlohmann::json& event : run.events) {
      const Field e(event, "events.jsonl of " + run.label);
      if (e["event"].string_or("") != "epoch") continue;
      epoch += 1;
      const std::int64_t task = e["task"].integer().value_or(0);
      if (task != last_task) steps.emplace_back(epoch, text("task ", task));
      last_task = task;
      if (const auto value = e["loss"].number()) loss.points.push_back({epoch, *value, {}, {}});
      if (const auto value = e["train_accuracy"].number())
        accuracy.points.push_back({epoch, in_percent(*value), {}, {}});
    }
    if (loss.points.empty() && accuracy.points.empty()) continue;
    if (!started) page.section("Training curves");
    started = true;
    const std::string of = of_run(inputs, run);
    Chart accuracies = accuracy_chart("epoch, all stages one after the other",
                                      "accuracy on what was trained on, %");
    accuracies.steps = std::move(steps);
    Chart losses = accuracies;
    losses.y_label = "training loss";
    losses.y_high.reset();
    losses.series = {std::move(loss)};
    accuracies.series = {std::move(accuracy)};
    page.figure({.name = file_stem(inputs, "training-loss", run),
                 .title = "Training loss" + of,
                 .caption = "Mean over an epoch.",
                 .command = train_command(run),
                 .drawing = std::move(losses)});
    page.figure(
        {.name = file_stem(inputs, "training-accuracy", run),
         .title = "Training accuracy" + of,
         .caption = "On the images that were trained on, attacked where the objective attacks.",
         .command = train_command(run),
         .drawing = std::move(accuracies)});
  }
}

void add_bytes(const ReportInputs& inputs, Document& page) {
  Sheet sheet{
      "bytes",
      "Growth and bytes, after each task",
      {{"run", {}},
       {"task", {}},
       {"width", {}},
       {"weights", {}},
       {"own", {}},
       {"picked", {}},
       {"free", {}},
       {"marginal, bytes", {}},
       {"stored, bytes", {}},
       {"amortised, bytes a task", {}}},
      {"own, picked, free: shared weights. marginal: the task's own weights, norm layers, head and "
       "picks; stored: the model with the tasks so far; amortised: stored by their number."}};
  Chart chart;
  chart.x_label = "task";
  chart.y_label = "stored model by the number of tasks, kB a task";
  chart.y_low = 0;
  std::size_t most = 0;
  for (const ReportedRun& run : inputs.runs) {
    Series series{run.label, {}};
    for (const ByteRow& row : byte_rows(RunView(run.records))) {
      if (row.task < 1) continue;
      const double amortised = static_cast<double>(row.stored) / static_cast<double>(row.task);
      sheet.add_row({run.label, text(row.task), short_number(row.width),
                     with_commas(row.total_weights), with_commas(row.own), with_commas(row.picked),
                     with_commas(row.free), with_commas(row.marginal), with_commas(row.stored),
                     with_commas(static_cast<std::int64_t>(amortised + 0.5))});
      series.points.push_back({static_cast<double>(row.task - 1), amortised / 1000, {}, {}});
      most = std::max(most, static_cast<std::size_t>(row.task));
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  if (sheet.rows() == 0) return;
  chart.categories = numbers_to(most);
  page.section("Growth and bytes");
  page.table(std::move(sheet));
  page.figure({.name = "bytes",
               .title = "Bytes a task",
               .caption = "The stored model, amortised over the tasks.",
               .command = train_command(inputs.runs.front()),
               .drawing = std::move(chart)});
}

}  // namespace cmat::report
