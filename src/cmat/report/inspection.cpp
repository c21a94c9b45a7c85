#include "cmat/report/inspection.h"

#include <vector>

#include "cmat/core/error.h"
#include "cmat/core/progress.h"
#include "cmat/report/fields.h"
#include "cmat/report/layout.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

constexpr std::size_t name_width = 24;

std::string count(const Field& field) {
  const auto value = field.integer();
  return value ? with_commas(*value) : std::string(kUnknown);
}

std::string bytes(const Field& field) {
  const auto value = field.number();
  return value ? format_bytes(*value) : std::string(kUnknown);
}

/// A part of a whole in percent; unknown when there is no whole.
std::string share(const Field& part, const Field& whole) {
  const auto p = part.number(), w = whole.number();
  return p && w && *w > 0 ? percent(*p / *w) : std::string(kUnknown);
}

/// "16x3x3x3"
std::string shape(const Field& sizes) {
  std::string result;
  for (const Field& size : sizes.items()) {
    result += text(result.empty() ? "" : "x", size.integer().value_or(0));
  }
  return result;
}

std::string facts(const Field& all) {
  const Field sizes = all["bytes"];
  const auto width = all["width"].number();
  return format_facts(
      {{"method", all["method"].string_or("")},
       {"network",
        text(all["architecture"].string_or(""), width ? text(", width ", *width) : std::string())},
       {"tasks",
        text(all["tasks"].items().size(), " of ", count(all["tasks_in_stream"]), " finished")},
       {"bytes", text(bytes(sizes["total"]), ": values ", bytes(sizes["values"]), ", owners ",
                      bytes(sizes["owners"]), ", and what the tasks have for themselves; ",
                      bytes(sizes["amortised"]), " a task")}});
}

std::string task_table(const Field& all) {
  std::vector<Column> columns = {{"task", {}},     {"name", {}},   {"width", {}},
                                 {"own", {}},      {"picked", {}}, {"% of older", {}},
                                 {"channels", {}}, {"zero", {}},   {"added", {}}};
  for (const Field& task : all["tasks"].items()) {
    const Field network = task["network"];
    const auto width = network["width"].number();
    const std::vector<std::string> cells = {count(task["task"]),
                                            clipped(task["name"].string_or(kUnknown), name_width),
                                            width ? text(*width) : std::string(kUnknown),
                                            count(task["own"]),
                                            count(task["picked"]),
                                            share(task["picked"], task["older"]),
                                            count(network["channels"]),
                                            count(network["zero_channels"]),
                                            bytes(task["bytes"]["marginal"])};
    for (std::size_t i = 0; i < cells.size(); ++i) columns[i].cells.push_back(cells[i]);
  }
  return format_columns(columns, 2);
}

std::string layer_table(const Field& all) {
  const std::size_t tasks = all["tasks"].items().size();
  std::vector<Column> columns = {{"layer", {}}, {"shape", {}}, {"weights", {}}};
  for (std::size_t t = 1; t <= tasks; ++t) columns.push_back({text(t), {}});
  columns.push_back({"free", {}});
  for (const Field& layer : all["layers"].items()) {
    columns[0].cells.push_back(layer["name"].string_or(kUnknown));
    columns[1].cells.push_back(shape(layer["shape"]));
    columns[2].cells.push_back(count(layer["weights"]));
    const std::vector<Field> own = layer["own"].items();
    for (std::size_t t = 0; t < tasks; ++t) {
      columns[3 + t].cells.push_back(t < own.size() ? share(own[t], layer["weights"])
                                                    : std::string(kUnknown));
    }
    columns.back().cells.push_back(share(layer["free"], layer["weights"]));
  }
  return format_columns(columns, 1);
}

std::string pick_table(const Field& all) {
  const std::vector<Field> rows = all["picks"].items();
  std::vector<Column> columns = {{"task", {}}};
  for (std::size_t j = 1; j < rows.size(); ++j) columns.push_back({text("from ", j), {}});
  for (std::size_t k = 1; k < rows.size(); ++k) {
    const std::vector<Field> row = rows[k].items();
    columns[0].cells.push_back(text(k + 1));
    for (std::size_t j = 0; j + 1 < rows.size(); ++j) {
      columns[j + 1].cells.push_back(j < row.size() ? share(row[j]["picked"], row[j]["owned"])
                                                    : "");
    }
  }
  return format_columns(columns, 1);
}

bool some_picks(const Field& all) {
  const std::vector<Field> rows = all["picks"].items();
  return rows.size() > 1 && !rows[1].items().empty();
}

}  // namespace

std::string show_inspection(const nlohmann::json& inspection) {
  const Field all(inspection, "the inspection");
  std::string result = text("Run ", all["run"].string_or(kUnknown), "\n\n", facts(all),
                            "\nTasks\n\n", task_table(all), '\n');
  result += footnote(
      "own: weights that the task owns; picked: weights of earlier tasks that it uses; zero: "
      "channels that cannot influence its logits; added: bytes of its own weights, norm layers, "
      "head and picks.");
  result += text("\nWho owns each shared layer, in percent\n\n", layer_table(all));
  if (some_picks(all)) {
    result += text("\nHow much of an earlier task's weights a task uses, in percent\n\n",
                   pick_table(all));
  }
  return result;
}

}  // namespace cmat::report
