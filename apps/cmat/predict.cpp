// cmat predict: labels of pictures.
#include <iostream>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

struct PredictArguments {
  std::string run;
  bool as_json = false;
  std::size_t top = 1;
  continual::PredictOptions options;
};

std::string percent(double probability) {
  const auto tenths = static_cast<std::int64_t>(probability * 1000 + 0.5);
  return text(tenths / 10, ".", tenths % 10, "%");
}

void print_table(const nlohmann::json& result, std::size_t top) {
  std::vector<std::vector<std::string>> rows = {{"picture", "label", "probability"}};
  for (const auto& picture : result.at("pictures")) {
    std::string name = report::printable(picture.at("file").get<std::string>());
    const auto& all = picture.at("probabilities");
    for (std::size_t i = 0; i < std::min(top, all.size()); ++i) {
      rows.push_back({i == 0 ? name : "", report::printable(all[i].at("label").get<std::string>()),
                      percent(all[i].at("probability").get<double>())});
    }
  }
  if (rows.size() > 1) std::cout << report::format_table(rows);
}

void run_predict(const PredictArguments& arguments) {
  const nlohmann::json result = continual::predict(arguments.run, arguments.options);
  if (arguments.as_json) {
    std::cout << result.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    print_table(result, arguments.top);
  }
  for (const auto& failure : result.at("failures")) {
    std::cerr << "error: " << report::printable(failure.at("file").get<std::string>()) << ": "
              << report::printable(failure.at("reason").get<std::string>()) << "\n";
    exit_status() = 1;
  }
}

}  // namespace

void add_predict_command(CLI::App& app) {
  auto a = std::make_shared<PredictArguments>();
  CLI::App* command =
      app.add_subcommand("predict", "Label pictures with the network of a finished task");
  command->add_option("run", a->run, "Run folder")->required();
  command
      ->add_option("pictures", a->options.pictures,
                   "JPEG, PNG or WebP files, folders of them, or - for one on standard input")
      ->required();
  command->add_option("--task", a->options.task, "The task's number or name")->required();
  command->add_option("--top", a->top, "Labels to print for each picture (default 1)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1000}));
  command->add_flag("--json", a->as_json, "Print JSON, with the probabilities of all labels");
  add_machine_options(*command, a->options.machine);
  command->callback([a] { run_predict(*a); });
}

}  // namespace cmat::app
