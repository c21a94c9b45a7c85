// cmat inspect: who owns what in a run's network.
#include <iostream>
#include <memory>

#include "cmat/report/inspection.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

void run_inspect(const std::string& run, bool as_json, const continual::MachineOptions& machine) {
  const nlohmann::json result = continual::inspect(run, machine);
  if (as_json)
    std::cout << result.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << report::show_inspection(result);
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto run = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  auto machine = std::make_shared<continual::MachineOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Show the network's layers, who owns and picks what, bytes and zero channels");
  command->add_option("run", *run, "Run folder")->required();
  command->add_flag("--json", *as_json, "Print JSON");
  add_machine_options(*command, *machine);
  command->callback([=] { run_inspect(*run, *as_json, *machine); });
}

}  // namespace cmat::app
