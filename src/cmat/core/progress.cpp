#include "cmat/core/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "cmat/core/error.h"

namespace cmat {
namespace {

constexpr std::string_view clear_line = "\r\033[K";

/// With so many digits behind the point, whatever the locale is.
std::string fixed(double value, int digits) {
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::fixed, digits);
  return error == std::errc() ? std::string(buffer.data(), end) : std::string("?");
}

std::string two_digits(std::int64_t value) { return text(value < 10 ? "0" : "", value); }

/// Work per second, with about three digits, whether it is images or epochs.
std::string format_rate(double rate) {
  return fixed(rate, rate < 0.1 ? 3 : rate < 1 ? 2 : rate < 100 ? 1 : 0);
}

/// At most `columns` characters, so that a redrawn line never wraps (a wrapped one cannot be
/// cleared).
std::string cut(const std::string& line, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool continues = (static_cast<unsigned char>(line[i]) & 0xC0) == 0x80;  // inside UTF-8
    if (!continues && characters++ == columns) return line.substr(0, i);
  }
  return line;
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
  return size.ws_col - std::size_t{1};
}

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && kind && std::string_view(kind) != "dumb";
}

void write_to_stderr(const std::string& message) {
  std::fwrite(message.data(), 1, message.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!(seconds < 1e9)) return "?";  // also NaN; nobody plans for thirty years
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole < 60) return text(whole, " s");
  if (whole < 3600) return text(whole / 60, " min ", two_digits(whole % 60), " s");
  const std::int64_t minutes = (whole + 30) / 60;
  return text(minutes / 60, " h ", two_digits(minutes % 60), " min");
}

std::string format_bytes(double bytes) {
  if (!std::isfinite(bytes)) return "?";
  bytes = std::max(0.0, bytes);
  constexpr std::array<std::string_view, 7> units = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  std::size_t unit = 0;
  // What would be rounded to 1000.0 belongs to the next unit.
  while (bytes >= (unit == 0 ? 999.5 : 999.95) && unit + 1 < units.size()) {
    bytes /= 1000;
    ++unit;
  }
  return text(fixed(bytes, unit == 0 ? 0 : 1), " ", units[unit]);
}

std::string format_progress(const ProgressState& state, std::string_view label,
                            std::string_view detail) {
  std::string line(label);
  const double rate = (state.done - state.first_done) / state.seconds;
  const bool known_rate = std::isfinite(rate) && rate > 0;
  if (known_rate) line += text("  ", format_rate(rate), " ", state.unit, "/s");
  const double share = state.done / state.total;
  if (std::isfinite(share) && state.total > 0) {
    const double percent = std::floor(100 * std::clamp(share, 0.0, 1.0));
    line += text("  ", fixed(percent, 0), "%");
    if (known_rate && share < 1) {
      line += text("  ETA ", format_duration((state.total - state.done) / rate));
    }
  }
  if (!detail.empty()) line += text("  ", detail);
  return line;
}

Progress::Progress(std::string unit, double total, double done)
    : unit_(std::move(unit)),
      total_(total),
      first_done_(done),
      terminal_(is_terminal()),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() { clear(); }

void Progress::update(double done, std::string_view label, std::string_view detail) {
  const Clock::time_point now = Clock::now();
  const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10);
  if (printed_ && now - last_ < pause) return;
  printed_ = true;
  last_ = now;
  const std::string line =
      format_progress({unit_, total_, first_done_, done, seconds()}, label, detail);
  if (terminal_) {
    write_to_stderr(text(clear_line, cut(line, terminal_columns())));
    shown_ = true;
  } else {
    write_to_stderr(line + "\n");
  }
}

void Progress::line(std::string_view message) {
  clear();
  write_to_stderr(text(message, "\n"));
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::clear() {
  if (shown_) write_to_stderr(std::string(clear_line));
  shown_ = false;
}

}  // namespace cmat
