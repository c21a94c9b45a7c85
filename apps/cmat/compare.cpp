// cmat compare: every row of a comparison as a run of its own, then one table.
#include <algorithm>
#include <iostream>
#include <memory>
#include <thread>

#include "cmat/compare/plan.h"
#include "cmat/compare/processes.h"
#include "cmat/compare/results.h"
#include "cmat/continual/run.h"
#include "cmat/core/config.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"
#include "commands.h"
#include "options.h"

namespace cmat::app {
namespace {

namespace fs = std::filesystem;
using compare::Plan;
using compare::PlannedRun;
using compare::Row;
using compare::RunIndex;
using nlohmann::json;

struct CompareArguments {
  std::string config, out, row;
  std::vector<std::string> overrides;
  std::size_t jobs = 1;
  bool list = false, as_json = false;
  continual::MachineOptions machine;
};

fs::path out_of(const CompareArguments& a, const Plan& plan) {
  return a.out.empty() ? fs::path("runs") / plan.name : fs::path(a.out);
}

/// The same comparison, one run of it.
std::vector<std::string> row_command(const CompareArguments& a, const fs::path& out,
                                     const std::string& program, const PlannedRun& run) {
  std::vector<std::string> command = {program, "compare", a.config, "--out", out.string()};
  for (const std::string& assignment : a.overrides) {
    command.push_back("--set");
    command.push_back(assignment);
  }
  if (a.machine.threads > 0) {
    command.push_back("--threads");
    command.push_back(std::to_string(a.machine.threads));
  }
  if (!a.machine.device.empty()) {
    command.push_back("--device");
    command.push_back(a.machine.device);
  }
  command.push_back("--row");
  command.push_back(run.name);
  return command;
}

/// As a shell reads it back.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-+=./,:@%") == std::string::npos;
  if (plain) return word;
  std::string result = "'";
  for (char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

void print_list(const CompareArguments& a, const Plan& plan) {
  for (const RunIndex& i : compare::run_order(plan)) {
    std::string line;
    for (const std::string& word :
         row_command(a, out_of(a, plan), "cmat", plan.rows[i.row].runs[i.run]))
      line += (line.empty() ? "" : " ") + quoted(word);
    std::cout << line << "\n";
  }
}

/// As files and --json have it.
std::string json_text(const json& value) {
  // An error's message may hold bytes that are not UTF-8.
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

void write_status(const fs::path& out, const Plan& plan, const Row& row, const PlannedRun& run,
                  const std::string& status, const std::string& reason, double seconds) {
  const json content = {{"status", status},
                        {"reason", reason},
                        {"seconds", seconds},
                        {"request", compare::request_of(plan, row, run)}};
  write_file_atomic(compare::status_file(out, run), json_text(content));
}

/// Trains one run after its source, if it has one. False if it was interrupted.
bool train_row(const CompareArguments& a, const fs::path& out, const Plan& plan,
               const PlannedRun& run) {
  const auto finishes = [&](const fs::path& folder, const std::vector<std::string>& overrides) {
    continual::TrainOptions training;
    training.config = plan.base;
    training.out = folder;
    training.overrides = overrides;
    training.resume = true;
    training.machine = a.machine;
    return continual::train(training) != continual::RunStatus::interrupted;
  };
  const fs::path folder = compare::run_folder(out, run);
  if (run.source.empty()) return finishes(folder, run.overrides);
  const fs::path source = compare::source_folder(out, run);
  if (!finishes(source, run.source)) return false;
  // A run goes on with the settings that it began with, however --out is spelled by then.
  const fs::path begun = folder / "config.toml";
  std::string path = fs::canonical(source).string();
  if (fs::exists(begun)) path = Config::load(begun).string("network.run", path);
  std::vector<std::string> overrides = run.overrides;
  overrides.insert(overrides.end(), {"network.init=run", "network.run=" + path});
  return finishes(folder, overrides);
}

/// Trains and evaluates one run. False if it was interrupted.
bool do_row(const CompareArguments& a, const fs::path& out, const Plan& plan, const Row& row,
            const PlannedRun& run) {
  if (!train_row(a, out, plan, run)) return false;
  continual::EvaluateOptions evaluation;
  evaluation.attacks = plan.attacks;
  evaluation.limit = plan.limit;
  evaluation.machine = a.machine;
  evaluation.protocol = row.protocol;
  evaluation.save = true;  // so that an interrupted one goes on
  const json results = continual::evaluate(compare::run_folder(out, run), evaluation).results;
  const fs::path file = compare::evaluation_file(out, run);
  fs::create_directories(file.parent_path());
  write_file_atomic(file, results.dump(1) + "\n");
  return true;
}

/// --row: one run in this process, whose outcome is written down either way.
void run_row(const CompareArguments& a, const Plan& plan) {
  continual::install_interrupt_handlers();
  const fs::path out = out_of(a, plan);
  for (const RunIndex& i : compare::run_order(plan)) {
    const Row& row = plan.rows[i.row];
    const PlannedRun& run = row.runs[i.run];
    if (run.name != a.row) continue;
    if (compare::read_status(out, plan, row, run).status == "done") {
      std::cerr << run.name << " is done already\n";
      return;
    }
    fs::create_directories(out / "rows");
    const Progress clock("", 1);
    try {
      const bool finished = do_row(a, out, plan, row, run);
      if (finished) write_status(out, plan, row, run, "done", "", clock.seconds());
      if (!finished) exit_status() = 130;
    } catch (const std::exception& error) {
      write_status(out, plan, row, run, "failed", error.what(), clock.seconds());
      throw;
    }
    return;
  }
  usage_error("the comparison has no run \"", a.row, "\"; see cmat compare ", a.config, " --list");
}

/// The runs that are not done, as jobs; `done` counts the others.
std::vector<compare::Job> jobs_left(const CompareArguments& a, const Plan& plan,
                                    const fs::path& out, std::vector<RunIndex>& left,
                                    std::size_t& done) {
  std::vector<compare::Job> jobs;
  const std::string program = compare::own_program();
  for (const RunIndex& i : compare::run_order(plan)) {
    const Row& row = plan.rows[i.row];
    const PlannedRun& run = row.runs[i.run];
    if (compare::read_status(out, plan, row, run).status == "done") {
      ++done;
      continue;
    }
    left.push_back(i);
    jobs.push_back(
        {run.name, row_command(a, out, program, run), out / "rows" / (run.name + ".log")});
  }
  return jobs;
}

/// Every run that is not done yet. False if it was interrupted.
bool run_rows(CompareArguments a, const Plan& plan, const fs::path& out) {
  if (a.machine.threads == 0)
    a.machine.threads = std::max(
        1, static_cast<int>(std::thread::hardware_concurrency()) / static_cast<int>(a.jobs));
  std::vector<RunIndex> left;
  std::size_t done = 0;
  const std::vector<compare::Job> jobs = jobs_left(a, plan, out, left, done);
  if (jobs.empty()) return true;
  continual::install_interrupt_handlers();
  fs::create_directories(out / "rows");
  Progress progress("runs", static_cast<double>(done + jobs.size()), static_cast<double>(done));
  compare::JobEvents events;
  events.line = [&](const compare::Job& job, const std::string& line) {
    progress.line(job.name + ": " + line);
  };
  events.stop = [] { return continual::interrupt_requested(); };
  events.ended = [&](const compare::JobEnd& end) {
    const Row& row = plan.rows[left[end.job].row];
    const PlannedRun& run = row.runs[left[end.job].run];
    if (end.exit_code > 128 && !continual::interrupt_requested())
      write_status(out, plan, row, run, "failed",
                   text("its process was ended by signal ", end.exit_code - 128,
                        end.exit_code == 137 ? " (out of memory?)" : ""),
                   0);
    progress.line(text(run.name, end.exit_code == 0 ? " is done" : " ended without a result"));
    progress.update(static_cast<double>(++done), plan.name);
  };
  return compare::run_jobs(jobs, a.jobs, events);
}

void run_compare(const CompareArguments& a) {
  const Plan plan = compare::load_plan(a.config, a.overrides);
  if (a.list) return print_list(a, plan);
  if (!a.row.empty()) return run_row(a, plan);
  const fs::path out = out_of(a, plan);
  const bool all = run_rows(a, plan, out);
  fs::create_directories(out);
  const json record = compare::comparison_record(out, plan);
  write_file_atomic(out / "comparison.json", json_text(record));
  std::cout << (a.as_json ? json_text(record) : compare::comparison_text(record));
  if (!all) {
    std::cerr << "interrupted; everything so far is kept. Give the same command to go on\n";
    exit_status() = 130;
    return;
  }
  const auto failed = std::count_if(record["rows"].begin(), record["rows"].end(),
                                    [](const json& row) { return row["status"] != "done"; });
  if (failed == 0) return;
  std::cerr << failed << " of " << record["rows"].size()
            << " runs have no result; the same command tries them again\n";
  exit_status() = 1;
}

}  // namespace

void add_compare_command(CLI::App& app) {
  auto a = std::make_shared<CompareArguments>();
  CLI::App* command = app.add_subcommand(
      "compare", "Train and attack all rows of a comparison, and put them into one table");
  command->add_option("config", a->config, "A comparison (configs/compare-*.toml)")->required();
  command->add_option("--out", a->out, "Folder of the comparison (default: runs/NAME)");
  command->add_option("--set", a->overrides, "Override a config value of every row")
      ->allow_extra_args(false);
  command->add_option("--jobs", a->jobs, "Runs at a time on this machine")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--list", a->list, "Print one command for each run, for other schedulers");
  command->add_option("--row", a->row, "Do this run only, without the table");
  command->add_flag("--json", a->as_json, "Print comparison.json instead of tables");
  add_machine_options(*command, a->machine);
  command->callback([a] { run_compare(*a); });
}

}  // namespace cmat::app
