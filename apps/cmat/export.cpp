// cmat export: one task's network for other programs.
#include <iostream>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/core/progress.h"
#include "cmat/report/wording.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

struct ExportArguments {
  std::string run, output;
  bool as_json = false;
  continual::ExportOptions options;
};

std::string removal_words(const nlohmann::json& result, bool asked) {
  const auto channels = result.at("removed_channels").get<std::int64_t>();
  if (!asked) return "no channels were looked for that could be removed";
  if (channels == 0) return "no channels were removed: each one can influence the logits";
  return text("removed ", report::with_commas(channels),
              channels == 1 ? " channel that" : " channels that",
              " cannot influence the logits, with ",
              report::with_commas(result.at("removed_weights").get<std::int64_t>()), " weights");
}

void run_export(ExportArguments& arguments) {
  arguments.options.output = arguments.output;
  const nlohmann::json result = continual::export_task(arguments.run, arguments.options);
  if (arguments.as_json) {
    std::cout << result.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    return;
  }
  std::cout << report::printable(result.at("file").get<std::string>()) << ": task "
            << result.at("task").get<int>() << " ("
            << report::printable(result.at("name").get<std::string>()) << ") as "
            << result.at("format").get<std::string>() << ", "
            << report::with_commas(result.at("weights").get<std::int64_t>()) << " weights, "
            << format_bytes(result.at("bytes").get<double>()) << "\n"
            << removal_words(result, !arguments.options.keep_channels) << "\n";
}

}  // namespace

void add_export_command(CLI::App& app) {
  auto a = std::make_shared<ExportArguments>();
  CLI::App* command =
      app.add_subcommand("export", "Write a task's network as ONNX, TorchScript or safetensors");
  command->add_option("run", a->run, "Run folder")->required();
  command->add_option("--task", a->options.task, "The task's number or name")->required();
  command->add_option("-o,--output", a->output, "File to write: .onnx, .pt or .safetensors")
      ->required();
  command->add_option("--format", a->options.format,
                      "onnx, torchscript or safetensors (default: as the file's name says)");
  command->add_flag("--keep-channels", a->options.keep_channels,
                    "Keep channels that cannot influence the logits");
  command->add_flag("--json", a->as_json, "Print JSON");
  add_machine_options(*command, a->options.machine);
  command->callback([a] { run_export(*a); });
}

}  // namespace cmat::app
