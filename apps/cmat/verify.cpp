#include <iostream>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/report/tables.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

std::string verdict(const nlohmann::json& value) {
  return value.is_null() ? "not comparable here" : value.get<bool>() ? "identical" : "CHANGED";
}

/// Claims no more than was compared.
std::string conclusion(const nlohmann::json& result) {
  if (!result.at("identical").get<bool>()) {
    return "NOT identical: at least one task has changed since it was committed.";
  }
  for (const auto& task : result.at("tasks")) {
    if (!task.at("logits_identical").is_null()) continue;
    return "Nothing was forgotten: every finished task's weights are, to the bit, those of the day "
           "it was committed, and its logits agree within rounding.";
  }
  return "Nothing was forgotten: every finished task computes, to the bit, what it computed when "
         "it was committed.";
}

void run_verify(const std::string& run, bool as_json, const continual::MachineOptions& machine) {
  const nlohmann::json result = continual::verify(run, machine);
  exit_status() = result.at("identical").get<bool>() ? 0 : 1;
  if (as_json) {
    std::cout << result.dump(1) << "\n";
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"task", "name", "weights", "logits", "largest difference"}};
  for (const auto& task : result.at("tasks")) {
    const auto& difference = task.at("max_logit_difference");
    rows.push_back({std::to_string(task.at("task").get<int>()), task.at("name"),
                    verdict(task.at("weights_identical")), verdict(task.at("logits_identical")),
                    difference.is_null() ? "-" : text(difference.get<double>())});
  }
  std::cout << report::format_table(rows);
  if (result.contains("note"))
    std::cout << "note: " << result.at("note").get<std::string>() << "\n";
  std::cout << conclusion(result) << "\n";
}

}  // namespace

void add_verify_command(CLI::App& app) {
  auto run = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  auto machine = std::make_shared<continual::MachineOptions>();
  CLI::App* command = app.add_subcommand("verify",
                                         "Prove that every finished task is bit-identical to the "
                                         "day it was committed (exit 1 if not)");
  command->add_option("run", *run, "Run folder")->required();
  command->add_flag("--json", *as_json, "Print JSON");
  add_machine_options(*command, *machine);
  command->callback([=] { run_verify(*run, *as_json, *machine); });
}

}  // namespace cmat::app
