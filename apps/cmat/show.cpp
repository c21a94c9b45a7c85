// cmat show: what a run is and how it stands, or several runs side by side.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/report/records.h"
#include "cmat/report/tables.h"
#include "commands.h"

namespace cmat::app {
namespace {

using nlohmann::json;

struct ShowOptions {
  std::vector<std::string> runs;
  bool matrices = false, as_json = false, follow = false;
  std::size_t events = 0;
};

json as_json(const report::Records& records, const ShowOptions& options) {
  json result = {
      {"folder", records.folder.string()}, {"run", records.run}, {"results", records.results}};
  if (options.events > 0) result["events"] = report::read_events(records.folder, options.events);
  return result;
}

/// One run is an object, several are an array.
void print_json(const std::vector<report::Records>& all, const ShowOptions& options) {
  json result = json::array();
  for (const report::Records& records : all) result.push_back(as_json(records, options));
  // A folder's name need not be UTF-8, but JSON must be.
  std::cout
      << (all.size() == 1 ? result[0] : result).dump(2, ' ', false, json::error_handler_t::replace)
      << '\n';
}

/// What --matrices and --events add, with the run's name above where there are several.
void print_details(const report::Records& records, const ShowOptions& options, bool several) {
  if (!options.matrices && options.events == 0) return;
  if (several) std::cout << "\nRun " << records.folder.string() << '\n';
  if (options.matrices) std::cout << '\n' << report::show_matrices(records);
  if (options.events > 0) {
    std::cout << '\n' << report::show_events(report::read_events(records.folder, options.events));
  }
}

/// True where the lock names nobody, or a process of this machine that is no more (one that was
/// killed leaves the status "running" behind).
bool writer_is_gone(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder / "lock", ignored)) return true;
  const std::string holder = read_file(folder / "lock");
  int process = 0;
  std::array<char, 256> host{}, here{};
  if (std::sscanf(holder.c_str(), "process %d on %255s", &process, host.data()) != 2)
    return holder.empty();
  if (::gethostname(here.data(), here.size() - 1) != 0 || std::string(host.data()) != here.data())
    return false;
  return ::kill(process, 0) != 0 && errno == ESRCH;
}

/// Prints events as they come, until the run ends.
void follow(const std::filesystem::path& folder) {
  constexpr auto pause = std::chrono::milliseconds(500);
  std::size_t printed = 0;
  while (true) {
    // The status is read before the events, so that none is missed that came before the end.
    const std::string status = report::read_records(folder).run.value("status", "unknown");
    const bool ended = status != "running" || writer_is_gone(folder);
    const auto events = report::read_events(folder, std::numeric_limits<std::size_t>::max());
    printed = std::min(printed, events.size());  // resuming cuts the log back to its checkpoint
    std::cout << report::show_events(
                     {events.begin() + static_cast<std::ptrdiff_t>(printed), events.end()})
              << std::flush;
    printed = events.size();
    if (ended) {
      std::cout << (status == "running" ? "no process writes to this run" : "the run is " + status)
                << "\n";
      return;
    }
    std::this_thread::sleep_for(pause);
  }
}

void show(const ShowOptions& options) {
  if (options.follow) {
    if (options.runs.size() != 1) usage_error("--follow takes one run, not ", options.runs.size());
    if (options.as_json) usage_error("--follow prints events as lines, so it takes no --json");
    follow(options.runs.front());
    return;
  }
  std::vector<report::Records> all;
  for (const std::string& run : options.runs) all.push_back(report::read_records(run));
  if (options.as_json) {
    print_json(all, options);
    return;
  }
  const bool several = all.size() > 1;
  std::cout << (several ? report::compare_runs(all) : report::show_run(all.front()));
  for (const report::Records& records : all) print_details(records, options, several);
}

}  // namespace

void add_show_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("show", "Show what a run is and how it stands, or compare several");
  const auto options = std::make_shared<ShowOptions>();
  command->add_option("RUN", options->runs, "Run folders; several are put side by side")
      ->required();
  command->add_flag("--matrices", options->matrices, "Also the accuracy after each task");
  command->add_option("--events", options->events, "Also the last N events")
      ->type_name("N")
      ->check(CLI::Range(0, 1'000'000));
  command->add_flag("--follow", options->follow, "Print events as they come, until the run ends");
  command->add_flag("--json", options->as_json, "Print the records as JSON");
  command->callback([options] { show(*options); });
}

}  // namespace cmat::app
