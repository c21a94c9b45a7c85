// cmat report: runs and comparisons as one page, with every table and figure as files.
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/report/report.h"
#include "commands.h"

namespace cmat::app {
namespace {

struct ReportArguments {
  std::vector<std::filesystem::path> folders;
  std::filesystem::path out;
  bool as_json = false;
};

void make_report(const ReportArguments& arguments) {
  const report::Document::Written written = report::write_report(arguments.folders, arguments.out);
  if (!written.pdf)
    std::cerr
        << "gnuplot is not installed, so the figures have no PDF: install it and call again\n";
  if (!arguments.as_json) {
    std::cout << written.index.string() << "\n";
    return;
  }
  const nlohmann::json result = {{"index", written.index.string()},
                                 {"figures", written.figures},
                                 {"tables", written.tables},
                                 {"pdf", written.pdf}};
  std::cout << result.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void add_report_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "report", "Make an HTML page of runs or comparisons, with tables and figures as files");
  const auto arguments = std::make_shared<ReportArguments>();
  command->add_option("RUN|COMPARISON", arguments->folders, "Run folders and comparisons")
      ->required();
  command
      ->add_option("-o,--out", arguments->out,
                   "Folder for index.html, figures/ and tables/; an earlier report is replaced")
      ->required();
  command->add_flag("--json", arguments->as_json, "Print what was written as JSON");
  command->callback([arguments] { make_report(*arguments); });
}

}  // namespace cmat::app
