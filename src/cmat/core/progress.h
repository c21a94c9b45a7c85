// What a person sees while a command works: one line that is redrawn on a terminal, plain lines now
// and then otherwise. Writes to stderr only, so that stdout stays clean for results.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace cmat {

/// "1 h 02 min", "3 min 20 s", "12 s".
std::string format_duration(double seconds);
/// "1.2 MB" (powers of 1000).
std::string format_bytes(double bytes);

/// Where the work stands, for one line of progress.
struct ProgressState {
  std::string_view unit;
  double total, first_done, done, seconds;
};

/// "label  12.3 images/s  42%  ETA 3 min 20 s  detail"; what is not known yet is left out.
std::string format_progress(const ProgressState& state, std::string_view label,
                            std::string_view detail);

class Progress {
 public:
  /// `total` units of work in all; `done` of them lie behind already (a resumed run), so that the
  /// rate and the ETA speak of this process's work only.
  Progress(std::string unit, double total, double done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Moves to `done` units and shows the line of format_progress. Redraws at most ten
  /// times a second on a terminal; elsewhere prints a line at most every ten seconds.
  void update(double done, std::string_view label, std::string_view detail = {});

  /// Prints a full line that stays (an event), without disturbing the redrawn one.
  void line(std::string_view message);

  double seconds() const;  ///< since construction

 private:
  using Clock = std::chrono::steady_clock;
  void clear();
  std::string unit_;
  double total_, first_done_;
  bool terminal_, shown_ = false;
  Clock::time_point start_, last_;
  bool printed_ = false;
};

}  // namespace cmat
