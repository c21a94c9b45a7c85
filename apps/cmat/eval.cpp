#include <cstdio>
#include <iostream>
#include <memory>

#include "cmat/core/error.h"
#include "commands.h"
#include "evaluation_output.h"
#include "options.h"

namespace cmat::app {
namespace {

namespace fs = std::filesystem;

struct EvalArguments {
  std::string run, attacks = "clean,apgd-ce,apgd-t", eps, tasks, grid, save_adversarial;
  bool as_json = false, no_checks = false;
  continual::EvaluateOptions options;
};

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

void run_eval(EvalArguments& arguments) {
  arguments.options.attacks = parse_attacks(arguments.attacks);
  arguments.options.eps = parse_radii(arguments.eps);
  arguments.options.tasks = parse_tasks(arguments.tasks);
  arguments.options.save_adversarial = arguments.save_adversarial;
  arguments.options.examples = !arguments.grid.empty();
  arguments.options.checks = !arguments.no_checks;
  const continual::Evaluation evaluation = continual::evaluate(arguments.run, arguments.options);
  if (arguments.as_json)
    std::cout << evaluation.results.dump(1) << "\n";
  else
    print_evaluation(evaluation.results);
  if (!evaluation.saved.empty()) std::cerr << "record: " << evaluation.saved.string() << "\n";
  if (!arguments.grid.empty()) draw_examples(evaluation, arguments.grid);
  // Beside the record, for reports; the name that was asked for may lie anywhere.
  if (!evaluation.saved.empty() && !evaluation.examples.empty())
    draw_examples(evaluation, fs::path(evaluation.saved).replace_extension(".png").string());
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
  command
      ->add_option("--protocol", a->options.protocol,
                   "task-aware, class-incremental (all heads, attacked jointly) or transfer "
                   "(examples from --source)")
      ->capture_default_str();
  command->add_option("--source", a->options.source,
                      "Of transfer: another run, a file of --save-adversarial, or tasks (the "
                      "networks of the tasks before)");
  command->add_option(
      "--targets", a->options.targets,
      "Send the attacks to a class, counted from 0 within the task (its own images are left out), "
      "or to \"next\", the class after the label's, and say how many images got there");
  command->add_option("--curve", a->options.curve,
                      "Spread the attacks over eps, steps or step-size");
  command->add_option("--grid", a->grid,
                      "Also draw what the last attack makes of images into this SVG or PNG file");
  command->add_flag("--save", a->options.save,
                    "Keep the record in RUN/evaluations; an interrupted evaluation goes on from "
                    "there");
  command->add_option("--save-adversarial", a->save_adversarial,
                      "Also write the adversarial images into this safetensors file");
  command->add_flag("--as-published", a->options.as_published,
                    "Under the original program's threat model instead, which is not comparable: "
                    "eps 2/255 in units of normalised images, clamped to [0,1] there");
  command->add_flag("--no-checks", a->no_checks,
                    "Do not look for signs that the attacks are too weak to be believed");
  command->add_flag("--json", a->as_json, "Print JSON");
  add_machine_options(*command, a->options.machine);
  command->callback([a] { run_eval(*a); });
}

}  // namespace cmat::app
