// Matrices, training, who owns what, bytes, scores, pictures and checks.
#include <algorithm>
#include <map>
#include <tuple>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"
#include "cmat/core/tensor_file.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

/// " of RUN" where a page holds several.
std::string of_run(const ReportInputs& inputs, const ReportedRun& run) {
  return inputs.runs.size() == 1 ? std::string() : ", " + run.label;
}

std::string file_stem(const ReportInputs& inputs, const std::string& what, const ReportedRun& run) {
  return inputs.runs.size() == 1 ? what : text(what, '-', slug(run.label));
}

std::vector<std::string> numbers_to(std::size_t last) {
  std::vector<std::string> result;
  for (std::size_t i = 1; i <= last; ++i) result.push_back(text(i));
  return result;
}

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

Sheet matrix_sheet(const HeatMap& map, const std::string& name, const std::string& title) {
  Sheet sheet{name, title, {{map.row_label, map.rows}}, {}};
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    Column column{text(map.column_label, ' ', map.columns[c]), {}};
    for (const auto& row : map.values) {
      const bool there = c < row.size() && row[c];
      column.cells.push_back(there ? fixed(*row[c], 1) : "");
    }
    sheet.columns.push_back(std::move(column));
  }
  return sheet;
}

/// What each layer's weights are used for: [layer][task].
struct Ownership {
  std::vector<std::string> layers;
  std::vector<std::int64_t> weights;
  std::vector<std::vector<std::int64_t>> own, picked, older;
  std::vector<std::vector<std::int64_t>> owned_by, picked_from;  ///< [task][earlier task]
  std::size_t tasks = 0;
};

/// The leading rows and columns of a layer that are a task's, from the description of its network.
std::pair<std::int64_t, std::int64_t> corner_of(const nlohmann::json& networks, std::size_t task,
                                                const std::string& layer) {
  const Field all(networks, "networks");
  const std::vector<Field> indices = all["tasks"].items(),
                           descriptions = all["descriptions"].items();
  const auto index = task <= indices.size() ? indices[task - 1].integer() : std::nullopt;
  if (!index || *index < 0 || static_cast<std::size_t>(*index) >= descriptions.size())
    return {-1, -1};
  for (const Field& each : descriptions[static_cast<std::size_t>(*index)]["layers"].items()) {
    if (each["name"].string_or("") + ".weight" != layer) continue;
    return {each["out"].integer().value_or(-1), each["in"].integer().value_or(-1)};
  }
  return {-1, -1};
}

/// Adds what a task picks in a layer to the counts.
void count_picks(const TensorBytes& owners, const std::string* bits, std::size_t task,
                 std::pair<std::int64_t, std::int64_t> corner, std::size_t layer,
                 Ownership& result) {
  const std::int64_t inputs = owners.shape.size() > 1 ? owners.shape[1] : 1;
  std::int64_t inner = 1;
  for (std::size_t i = 2; i < owners.shape.size(); ++i) inner *= owners.shape[i];
  std::size_t bit = 0;
  for (std::size_t i = 0; i < owners.bytes.size(); ++i) {
    const auto owner = static_cast<unsigned char>(owners.bytes[i]);
    if (owner == 0 || owner >= task) continue;
    const auto place = static_cast<std::int64_t>(i) / std::max<std::int64_t>(1, inner);
    const bool inside = (corner.first < 0 || place / inputs < corner.first) &&
                        (corner.second < 0 || place % inputs < corner.second);
    if (!inside) continue;
    bool picked = true;
    if (bits != nullptr) {
      picked = bit / 8 < bits->size() &&
               (static_cast<unsigned char>((*bits)[bit / 8]) >> bit % 8 & 1) != 0;
      ++bit;
    }
    ++result.older[layer][task - 1];
    ++result.owned_by[task - 1][owner - 1U];
    if (!picked) continue;
    ++result.picked[layer][task - 1];
    ++result.picked_from[task - 1][owner - 1U];
  }
}

/// Nothing where tasks do not share one bank, or the run is not finished.
std::optional<Ownership> ownership_of(const ReportedRun& run) {
  const std::filesystem::path path = run.records.folder / "model.safetensors";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  const TensorFile file = read_tensor_file(path);
  const auto found = file.metadata.find("networks");
  if (found == file.metadata.end()) return {};
  const nlohmann::json networks = nlohmann::json::parse(found->second, nullptr, false);
  if (!networks.is_object() || networks.value("sharing", "") != "owned") return {};
  Ownership result;
  result.tasks = networks.value("tasks", nlohmann::json::array()).size();
  if (result.tasks == 0 || result.tasks > 255) return {};
  result.owned_by.assign(result.tasks, std::vector<std::int64_t>(result.tasks));
  result.picked_from = result.owned_by;
  const std::string prefix = "model/bank0/", suffix = "/owners";
  // In the order in which images pass through them.
  std::vector<std::string> names;
  const Field all(networks, "networks");
  for (const Field& description : all["descriptions"].items()) {
    for (const Field& layer : description["layers"].items()) {
      const std::string name = layer["name"].string_or("") + ".weight";
      if (file.tensors.contains(prefix + name + suffix) &&
          std::find(names.begin(), names.end(), name) == names.end())
        names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    const TensorBytes& owners = file.tensors.at(prefix + name + suffix);
    const std::size_t layer = result.layers.size();
    result.layers.push_back(name.substr(0, name.size() - 7));
    result.weights.push_back(static_cast<std::int64_t>(owners.bytes.size()));
    for (auto* counts : {&result.own, &result.picked, &result.older})
      counts->emplace_back(result.tasks);
    for (const char c : owners.bytes) {
      const auto owner = static_cast<unsigned char>(c);
      if (owner > 0 && owner <= result.tasks) ++result.own[layer][owner - 1U];
    }
    for (std::size_t task = 1; task <= result.tasks; ++task) {
      const auto bits = file.tensors.find(text("model/task", task, '/', name, "/picks"));
      count_picks(owners, bits == file.tensors.end() ? nullptr : &bits->second.bytes, task,
                  corner_of(networks, task, name), layer, result);
    }
  }
  if (result.layers.empty()) return {};
  return result;
}

std::optional<double> percent_of(std::int64_t part, std::int64_t whole) {
  if (whole <= 0) return {};
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void add_one_ownership(const ReportInputs& inputs, const ReportedRun& run, const Ownership& o,
                       Document& page) {
  const std::string command = "cmat inspect " + printable(run.records.folder.string());
  HeatMap own{"layer", "task", "owned, %", o.layers, numbers_to(o.tasks), {}, {}, 0, 100};
  HeatMap picks{
      "layer", "task", "picked of what it could, %", o.layers, numbers_to(o.tasks), {}, {}, 0, 100};
  own.columns.emplace_back("free");
  for (std::size_t l = 0; l < o.layers.size(); ++l) {
    std::vector<std::optional<double>> shares, picked;
    std::int64_t taken = 0;
    for (std::size_t t = 0; t < o.tasks; ++t) {
      shares.push_back(percent_of(o.own[l][t], o.weights[l]));
      picked.push_back(percent_of(o.picked[l][t], o.older[l][t]));
      taken += o.own[l][t];
    }
    shares.push_back(percent_of(o.weights[l] - taken, o.weights[l]));
    own.values.push_back(std::move(shares));
    picks.values.push_back(std::move(picked));
  }
  HeatMap from{"task", "owner", "picked, %", numbers_to(o.tasks), numbers_to(o.tasks), {},
               {},     0,       100};
  for (std::size_t t = 0; t < o.tasks; ++t) {
    from.values.emplace_back();
    for (std::size_t e = 0; e < o.tasks; ++e)
      from.values.back().push_back(percent_of(o.picked_from[t][e], o.owned_by[t][e]));
  }
  const std::string name = file_stem(inputs, "owners", run), of = of_run(inputs, run);
  page.table(matrix_sheet(own, name, "Who owns each shared layer" + of + ", % of its weights"));
  page.figure({.name = name,
               .title = "Who owns each shared layer" + of,
               .caption = "Percent of the layer's weights, by the task that owns them.",
               .command = command,
               .drawing = std::move(own)});
  if (o.tasks < 2) return;
  page.figures({{.name = name + "-picks",
                 .title = "How much of the older weights a task uses" + of,
                 .caption = "Percent of the weights of earlier tasks, layer by layer.",
                 .command = command,
                 .drawing = std::move(picks)},
                {.name = name + "-from",
                 .title = "Who picks whom" + of,
                 .caption = "Percent of the owner's weights that a later task uses.",
                 .command = command,
                 .drawing = std::move(from)}});
}

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
    Chart first{.x_label = "epoch, all stages one after the other",
                .y_label = "training loss",
                .categories = {},
                .series = {std::move(loss)},
                .y_low = 0,
                .y_high = {},
                .reference = {},
                .reference_label = "",
                .steps = steps};
    Chart second = first;
    second.y_label = "accuracy on what was trained on, %";
    second.series = {std::move(accuracy)};
    second.y_high = 100;
    page.figure({.name = file_stem(inputs, "training-loss", run),
                 .title = "Training loss" + of,
                 .caption = "Mean over an epoch.",
                 .command = train_command(run),
                 .drawing = std::move(first)});
    page.figure(
        {.name = file_stem(inputs, "training-accuracy", run),
         .title = "Training accuracy" + of,
         .caption = "On the images that were trained on, attacked where the objective attacks.",
         .command = train_command(run),
         .drawing = std::move(second)});
  }
}

void add_ownership(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    const std::optional<Ownership> ownership = ownership_of(run);
    if (!ownership) continue;
    if (!started) page.section("Who owns what, and who picks whom");
    started = true;
    add_one_ownership(inputs, run, *ownership, page);
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
  Chart chart{.x_label = "task",
              .y_label = "stored model by the number of tasks, kB a task",
              .categories = {},
              .series = {},
              .y_low = 0,
              .y_high = {},
              .reference = {},
              .reference_label = "",
              .steps = {}};
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

void add_scores(const ReportInputs& inputs, Document& page) {
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
  bool confusions = false;
  for (const ReportedRun& run : inputs.runs) {
    const Field all = RunView(run.records).results()["per_task"];
    for (const Field& row : all.items()) {
      confusions |= !row["confusion"].items().empty();
      sheet.add_row({run.label, text(row["task"].integer().value_or(0)),
                     row["attack"].string_or("-"), percent(row["accuracy"].number()),
                     percent(row["precision"].number()), percent(row["recall"].number()),
                     percent(row["f1"].number())});
    }
  }
  if (sheet.rows() == 0) return;
  if (confusions) page.section("Confusion matrices");
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
    page.command(run.label + ":", train_command(run));
    page.begin_fold(text(figures.size(), " confusion matrices", of_run(inputs, run)),
                    figures.size() <= 12);
    page.figures(std::move(figures));
    page.end_fold();
  }
  page.section("Precision, recall and F1");
  page.table(std::move(sheet));
}

void add_pictures(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    for (const std::filesystem::path& file : run.pictures) {
      if (!started) page.section("Adversarial images");
      started = true;
      const std::string stem = file.stem().string();
      std::string command;
      for (const SavedEvaluation& saved : run.evaluations) {
        if (saved.file == stem + ".json") command = saved.command + " --grid";
      }
      page.picture(file_stem(inputs, "images-" + slug(stem), run),
                   text("Clean images, adversarial images and their difference",
                        of_run(inputs, run), " (", printable(stem), ")"),
                   read_file(file), file.extension().string().substr(1), command);
    }
  }
}

std::vector<Check> checks_of(const ReportInputs& inputs) {
  std::vector<Check> checks;
  for (const ReportedRun& run : inputs.runs) {
    for (const SavedEvaluation& saved : run.evaluations) {
      const Field record(saved.record, saved.file);
      for (const Field& check : record["checks"].items()) {
        checks.push_back({run.label, check["message"].string_or(check["check"].string_or("?")),
                          check["raised"].boolean().value_or(false)});
      }
    }
  }
  return checks;
}

void add_checks(const ReportInputs& inputs, Document& page) {
  Sheet sheet{"checks",
              "Checks of the saved evaluations",
              {{"run", {}}, {"finding", {}}, {"what was found", {}}},
              {}};
  page.section("Checks");
  for (const Check& check : checks_of(inputs)) {
    sheet.add_row({check.run, check.raised ? "WARNING" : "passed", check.message});
    if (check.raised) page.warning(text(check.run, ": ", check.message));
  }
  for (const ReportedRun& run : inputs.runs) {
    const auto exact = run.records.run.find("exact");
    if (exact != run.records.run.end() && *exact == false)
      page.warning(run.label +
                   " was resumed with other threads, device or libraries, so it cannot be repeated "
                   "to the bit.");
    const auto status = run.records.run.find("status");
    if (status != run.records.run.end() && *status != "finished")
      page.warning(text(run.label, " is not finished: its status is ", status->dump(), "."));
  }
  if (sheet.rows() > 0) {
    page.table(std::move(sheet));
  } else {
    page.muted("No saved evaluation; cmat eval RUN --save makes one, with its checks.");
  }
}

}  // namespace cmat::report
