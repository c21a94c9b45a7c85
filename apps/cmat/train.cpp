#include <iostream>
#include <memory>

#include "cmat/continual/run.h"
#include "cmat/core/error.h"
#include "cmat/report/records.h"
#include "cmat/report/tables.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

void run_train(const continual::TrainOptions& options) {
  continual::install_interrupt_handlers();
  const auto folder = continual::run_folder_of(options);
  if (continual::train(options) == continual::RunStatus::interrupted) {
    std::cerr << "interrupted; everything so far is kept. Continue with: cmat train "
              << folder.string() << " --resume\n";
    exit_status() = 130;
    return;
  }
  std::cout << report::show_run(report::read_records(folder));
  std::cout << "\nThe run lies in " << folder.string()
            << "; prove that nothing was forgotten with: cmat verify " << folder.string() << "\n";
}

}  // namespace

int& exit_status() {
  static int status = 0;
  return status;
}

void add_train_command(CLI::App& app) {
  auto options = std::make_shared<continual::TrainOptions>();
  CLI::App* command =
      app.add_subcommand("train", "Train one network on a stream of tasks, or continue a run");
  command
      ->add_option("config", options->config,
                   "A config file (configs/*.toml), or with --resume a run folder")
      ->required();
  command->add_option("--out", options->out, "Run folder (default: runs/NAME of the config)");
  command->add_option("--set", options->overrides, "Override a config value: --set train.epochs=5")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->resume, "Continue the run if there is one, else begin it");
  command->add_option("--from", options->from,
                      "RUN@3: take the first three tasks from RUN and go on from there");
  command->add_flag("--allow-inexact-resume", options->allow_inexact_resume,
                    "Resume with other --threads or --device, giving up bit-identical results");
  command->footer(
      "method.name is cmat (default), packnet, pae or piggyback; or a bound: individual, small "
      "(with method.budget or method.budget_run), finetune, joint (an oracle). docs/methods.md "
      "says what each costs and promises.");
  add_machine_options(*command, options->machine);
  command->callback([options] { run_train(*options); });
}

}  // namespace cmat::app
