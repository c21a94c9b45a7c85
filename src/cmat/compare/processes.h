// Several processes at a time, with what they print in a log each.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace cmat::compare {

struct Job {
  std::string name;
  std::vector<std::string> command;  ///< the program's path, then its arguments
  std::filesystem::path log;         ///< takes standard output and standard error, appended
};

struct JobEnd {
  std::size_t job = 0;
  int exit_code = 0;  ///< 128 + the signal's number if one ended it
};

struct JobEvents {
  /// A whole line that a job printed.
  std::function<void(const Job&, const std::string&)> line;
  std::function<void(const JobEnd&)> ended;
  /// Asked several times a second. Once true, no further job starts, and those that run get
  /// SIGTERM.
  std::function<bool()> stop;
};

/// Runs all jobs, at most `at_once` at a time, and returns when the last has ended; true if all
/// were started. A job is in a process group of its own, so a terminal's Ctrl-C reaches the caller
/// only. Throws a failure if a program cannot be started.
bool run_jobs(const std::vector<Job>& jobs, std::size_t at_once, const JobEvents& events);

/// The path of this program.
std::string own_program();

}  // namespace cmat::compare
