// cmat add: one more task for a finished run.
#include <iostream>
#include <memory>

#include "cmat/report/records.h"
#include "cmat/report/tables.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

struct AddArguments {
  std::string run, task, out;
  bool as_json = false;
  continual::AddOptions options;
};

void run_add(AddArguments& arguments) {
  continual::install_interrupt_handlers();
  continual::AddOptions& options = arguments.options;
  options.run = arguments.run;
  options.task = arguments.task;
  options.out = arguments.out;
  nlohmann::json proof;
  const bool interrupted = continual::add_task(options, proof) == continual::RunStatus::interrupted;
  const std::string folder = continual::added_run_folder(options).string();
  if (interrupted) {
    std::cerr << "interrupted; everything so far is kept. Continue with the same command, or with: "
              << "cmat train " << folder << " --resume\n";
    exit_status() = 130;
    return;
  }
  if (arguments.as_json) {
    std::cout << nlohmann::json({{"run", folder}, {"proof", proof}}).dump(1) << "\n";
    return;
  }
  std::cout << report::show_run(report::read_records(folder)) << "\nAll "
            << proof.at("tasks").size() - 1 << " old tasks compute, as was just verified, what "
            << "they computed before. The new run lies in " << folder << "; " << arguments.run
            << " is as it was.\n";
}

}  // namespace

void add_add_command(CLI::App& app) {
  auto a = std::make_shared<AddArguments>();
  CLI::App* command = app.add_subcommand(
      "add",
      "Learn one more task with a finished run, in a new folder; its old tasks are verified");
  command->add_option("run", a->run, "Finished run")->required();
  command->add_option("--task", a->task, "File with the keys of one [[task]] (TOML)")->required();
  command->add_option("--out", a->out, "New run folder (default: RUN-N, N the new task's number)");
  command->add_option("--max-width", a->options.max_width, "Let the network grow up to this width");
  command
      ->add_option("--min-free", a->options.min_free,
                   "Share of the weights that must be free, else grow or refuse (default 0.02)")
      ->check(CLI::Range(0.0, 0.99));
  command
      ->add_option("--set", a->options.overrides, "Override a config value: --set train.epochs=5")
      ->allow_extra_args(false);
  command->add_flag("--json", a->as_json, "Print JSON");
  add_machine_options(*command, a->options.machine);
  command->callback([a] { run_add(*a); });
}

}  // namespace cmat::app
