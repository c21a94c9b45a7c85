// Instants of a run that is being made, seen from outside through its folder.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>

#include "app/tiny_run.h"

namespace cmat::test {

/// True from an instant on; asked again and again while the program runs.
using Moment = std::function<bool()>;

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline Moment after_seconds(double seconds) {
  const auto start = std::chrono::steady_clock::now();
  return [=] { return seconds_since(start) >= seconds; };
}

/// `first`, and then so much later.
inline Moment later(Moment first, double seconds) {
  return [=, reached = false, start = std::chrono::steady_clock::time_point()]() mutable {
    if (!reached && first()) {
      reached = true;
      start = std::chrono::steady_clock::now();
    }
    return reached && seconds_since(start) >= seconds;
  };
}

/// Changes when the file is replaced, even by one of the same length in the same second.
inline std::string identity(const fs::path& file) {
  struct stat s {};
  if (::stat(file.c_str(), &s) != 0) return "";
  return std::to_string(s.st_ino) + " " + std::to_string(s.st_mtim.tv_sec) + "." +
         std::to_string(s.st_mtim.tv_nsec);
}

/// The newest checkpoint has been replaced this often.
inline Moment checkpoints_written(const fs::path& run, int count) {
  const fs::path file = run / "checkpoint" / "last.safetensors";
  return [=, seen = identity(file), left = count]() mutable {
    const std::string now = identity(file);
    if (now != seen) --left;
    seen = now;
    return left <= 0;
  };
}

/// A checkpoint is being written right now.
inline Moment writing_checkpoint(const fs::path& run) {
  const fs::path file = run / "checkpoint" / ".last.safetensors.tmp";
  return [=] { return fs::exists(file); };
}

/// A line was added to events.jsonl that is this event, of this task (0: of any).
inline Moment event_added(const fs::path& run, const std::string& name, int task) {
  const auto size_now = [run] {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(run / "events.jsonl", error);
    return error ? 0 : size;
  };
  return [=, size = size_now()]() mutable {
    const std::uintmax_t now = size_now();
    if (now == size) return false;
    size = now;
    const std::vector<json> events = events_of(run);
    return !events.empty() && events.back().value("event", "") == name &&
           (task == 0 || events.back().value("task", 0) == task);
  };
}

/// The process has read where the run stands, and goes on: between steps, or in an evaluation.
inline Moment goes_on(const fs::path& run) {
  return [=, before = identity(run / "run.json")] { return identity(run / "run.json") != before; };
}

/// A different instant for each number: soon after the start, while and after checkpoints are
/// written, and within evaluations, each with its own delay.
inline Moment kill_moment(const fs::path& run, int number) {
  const double delay = 0.0007 * (number % 7);
  switch (number % 8) {
    case 0:
      return later(checkpoints_written(run, 9), delay);
    case 1:
      return writing_checkpoint(run);
    case 2:
      return after_seconds(0.02 * (number % 5 + 1));
    case 3:
      return later(checkpoints_written(run, 5), delay / 2);
    case 4:
      return later(writing_checkpoint(run), delay / 4);
    case 5:
      return checkpoints_written(run, 7);
    case 6:
      return later(event_added(run, "commit", 0), delay);
    default:
      return later(goes_on(run), 0.004 + delay);  // the evaluation that 6 left unfinished
  }
}

/// Trains into `run` and ends the program while it trains task 2, with a checkpoint from there.
inline void kill_in_task_2(const fs::path& run, const Arguments& assignments = {}) {
  Program program(
      train_tiny(run, Arguments{"checkpoint.every_steps=1", "compact.epochs=30"} + assignments));
  const auto begun = [&] {
    const std::vector<json> events = events_of(run);
    return std::any_of(events.begin(), events.end(), [](const json& e) {
      return e.at("event") == "begin_stage" && e.at("task") == 2;
    });
  };
  ASSERT_TRUE(program.send_when(SIGKILL, [&, written = Moment()]() mutable {
    if (!written && begun()) written = checkpoints_written(run, 3);
    return written && written();
  }));
  program.wait();
}

}  // namespace cmat::test
