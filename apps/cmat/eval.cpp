#include <cstdio>
#include <iostream>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/report/grid.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

struct EvalArguments {
  std::string run, attacks = "clean,apgd-ce,apgd-t", eps, tasks, grid;
  bool as_json = false;
  continual::EvaluateOptions options;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::string part;
  for (char c : list + ",") {
    if (c != ',')
      part += c;
    else if (!part.empty())
      parts.push_back(std::exchange(part, ""));
  }
  return parts;
}

std::string attack_list() {
  std::string list;
  for (const std::string& name : continual::known_attacks())
    list += (list.empty() ? "" : ", ") + name;
  return list;
}

/// "1,3-5"
std::vector<std::int64_t> parse_tasks(const std::string& list) {
  std::vector<std::int64_t> tasks;
  for (const std::string& part : split(list)) {
    long first = 0, last = 0;
    int used = 0;
    if (std::sscanf(part.c_str(), "%ld-%ld%n", &first, &last, &used) != 2 ||
        used != static_cast<int>(part.size())) {
      if (std::sscanf(part.c_str(), "%ld%n", &first, &used) != 1 ||
          used != static_cast<int>(part.size())) {
        usage_error("--tasks wants numbers and ranges like 1,3-5, not \"", part, "\"");
      }
      last = first;
    }
    if (first < 1 || last < first || last > 255)
      usage_error("--tasks has the empty or impossible range \"", part, "\"");
    for (long t = first; t <= last; ++t) tasks.push_back(t);
  }
  return tasks;
}

using Row = std::vector<std::string>;

/// "0.0313725 (8/255)", as the record says it; empty for clean images.
std::string radius(const nlohmann::json& results, const nlohmann::json& row) {
  for (const auto& threat : results.at("threat_models")) {
    if (threat.at("eps_pixels") == row.at("eps_pixels")) return threat.at("eps");
  }
  return "";
}

std::string interval(const nlohmann::json& row) {
  const auto& bounds = row.at("interval");
  return report::percent_interval(bounds[0].get<double>(), bounds[1].get<double>());
}

/// A row of evaluations or of worst_case, which have no attack and no passes.
Row table_row(const nlohmann::json& results, const nlohmann::json& row) {
  const auto passes = [&](const char* name) {
    return row.contains(name) ? report::fixed(row.at(name).get<double>(), 0) : "";
  };
  Row cells = {std::to_string(row.at("task").get<int>()), row.at("name"),
               row.value("attack", "worst case")};
  if (results.at("threat_models").size() > 1) cells.push_back(radius(results, row));
  for (std::string& cell : Row{report::percent(row.at("accuracy").get<double>()), interval(row),
                               std::to_string(row.at("total").get<int>()),
                               report::percent(row.at("chance").get<double>()), passes("forwards"),
                               passes("backwards")}) {
    cells.push_back(std::move(cell));
  }
  return cells;
}

void print_table(const nlohmann::json& results) {
  const bool several = results.at("threat_models").size() > 1;
  std::vector<Row> rows = {{"task", "name", "attack", "accuracy %", "95% interval", "images",
                            "chance %", "forwards", "backwards"}};
  if (several) rows[0].insert(rows[0].begin() + 3, "eps");
  const auto& evaluations = results.at("evaluations");
  for (std::size_t i = 0; i < evaluations.size(); ++i) {
    const auto& row = evaluations[i];
    rows.push_back(table_row(results, row));
    const auto same = [&](const auto& other) {
      return other.at("task") == row.at("task") && other.at("eps_pixels") == row.at("eps_pixels");
    };
    if (i + 1 < evaluations.size() && same(evaluations[i + 1])) continue;
    for (const auto& worst : results.at("worst_case")) {
      if (same(worst)) rows.push_back(table_row(results, worst));
    }
  }
  std::cout << report::format_table(rows);
  for (const auto& row : results.at("averages")) {
    const std::string eps = several ? radius(results, row) : "";
    std::cout << "mean over tasks, " << row.at("attack").get<std::string>()
              << (eps.empty() ? "" : " at eps ") << eps << ": "
              << report::percent(row.at("accuracy").get<double>()) << "% " << interval(row) << "\n";
  }
  const auto& threats = results.at("threat_models");
  std::string radii;
  for (const auto& threat : threats)
    radii += (radii.empty() ? "" : ", ") + threat.at("eps").get<std::string>();
  std::cout << "protocol " << results.at("protocol").get<std::string>() << ", "
            << threats[0].at("norm").get<std::string>() << " eps " << radii << "\n";
  for (const auto& check : results.at("checks")) {
    std::cout << (check.at("raised").get<bool>() ? "WARNING: " : "check: ")
              << check.at("message").get<std::string>() << "\n";
  }
}

void draw(const continual::Evaluation& evaluation, const std::string& path) {
  report::Grid grid{.title = evaluation.title,
                    .caption = evaluation.caption,
                    .channels = evaluation.channels,
                    .height = evaluation.height,
                    .width = evaluation.width,
                    .amplification = 0,
                    .cells = {}};
  for (const continual::Example& e : evaluation.examples) {
    grid.cells.push_back(
        {e.clean, e.adversarial, e.truth, e.clean_prediction, e.adversarial_prediction, e.fooled});
  }
  if (grid.cells.empty())
    failure("no test image of the chosen tasks is classified rightly, so there is nothing to draw");
  report::write_grid(path, grid);
  std::cerr << "picture: " << path << "\n";
}

void run_eval(EvalArguments& arguments) {
  arguments.options.attacks = split(arguments.attacks);
  if (arguments.options.attacks.empty())
    usage_error("--attack names no attack: use a list like clean,apgd-ce,apgd-t");
  arguments.options.eps = split(arguments.eps);
  if (arguments.options.eps.empty() && !arguments.eps.empty())
    usage_error("--eps names no radius: use a list like 4/255,8/255");
  arguments.options.tasks = parse_tasks(arguments.tasks);
  arguments.options.examples = !arguments.grid.empty();
  const continual::Evaluation evaluation = continual::evaluate(arguments.run, arguments.options);
  if (arguments.as_json)
    std::cout << evaluation.results.dump(1) << "\n";
  else
    print_table(evaluation.results);
  if (!arguments.grid.empty()) draw(evaluation, arguments.grid);
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto a = std::make_shared<EvalArguments>();
  CLI::App* command =
      app.add_subcommand("eval", "Measure a run's accuracy, clean and under attack");
  command->add_option("run", a->run, "Run folder")->required();
  command
      ->add_option("--attack", a->attacks,
                   "Comma-separated: " + attack_list() + "; pgd20x2 has 20 steps and 2 runs")
      ->capture_default_str();
  command->add_option("--eps", a->eps,
                      "Comma-separated radii in pixels of [0,1] images, say 4/255,8/255 (default: "
                      "the run's)");
  command->add_option("--norm", a->options.norm, "linf, l2 or l1 (default: the run's)");
  command->add_option("--tasks", a->tasks, "Tasks, say 1,3-5 (default: all finished ones)");
  command
      ->add_option("--limit", a->options.limit,
                   "At most this many test images a task, balanced over classes")
      ->check(CLI::Range(1, 1000000000));
  command->add_option("--grid", a->grid,
                      "Also draw what the last attack makes of images into this SVG file");
  command->add_flag("--json", a->as_json, "Print JSON");
  add_machine_options(*command, a->options.machine);
  command->callback([a] { run_eval(*a); });
}

}  // namespace cmat::app
