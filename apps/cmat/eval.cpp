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
  std::string run, attacks = "clean,pgd20", tasks, grid;
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

void print_table(const nlohmann::json& results) {
  std::vector<std::vector<std::string>> rows = {
      {"task", "name", "attack", "accuracy %", "95% interval", "images", "chance %"}};
  for (const auto& row : results.at("evaluations")) {
    rows.push_back({std::to_string(row.at("task").get<int>()), row.at("name"), row.at("attack"),
                    report::percent(row.at("accuracy").get<double>()),
                    report::percent_interval(row.at("interval")[0].get<double>(),
                                             row.at("interval")[1].get<double>()),
                    std::to_string(row.at("total").get<int>()),
                    report::percent(row.at("chance").get<double>())});
  }
  std::cout << report::format_table(rows);
  const auto& threat = results.at("threat_model");
  for (const auto& [attack, mean] : results.at("means").items()) {
    std::cout << "mean over tasks, " << attack << ": " << report::percent(mean.get<double>())
              << "%\n";
  }
  std::cout << "protocol " << results.at("protocol").get<std::string>() << ", "
            << threat.at("norm").get<std::string>() << " eps "
            << threat.at("eps").get<std::string>() << "\n";
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
    usage_error("--attack names no attack: use a list like clean,pgd20x2");
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
                   "Comma-separated: clean, fgsm, pgdN, pgdNxR (R restarts)")
      ->capture_default_str();
  command->add_option("--eps", a->options.eps,
                      "Radius in pixels of [0,1] images, say 8/255 (default: the run's)");
  command->add_option("--norm", a->options.norm, "linf or l2 (default: the run's)");
  command->add_option("--tasks", a->tasks, "Tasks, say 1,3-5 (default: all finished ones)");
  command
      ->add_option("--limit", a->options.limit,
                   "At most this many test images a task, balanced over classes")
      ->check(CLI::Range(1, 1000000000));
  command->add_option("--grid", a->grid, "Also draw adversarial images into this SVG file");
  command->add_flag("--json", a->as_json, "Print JSON");
  add_machine_options(*command, a->options.machine);
  command->callback([a] { run_eval(*a); });
}

}  // namespace cmat::app
