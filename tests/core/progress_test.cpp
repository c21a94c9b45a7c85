#include "cmat/core/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

namespace cmat {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(FormatDuration, UsesTwoUnits) {
  EXPECT_EQ(format_duration(0), "0 s");
  EXPECT_EQ(format_duration(12.4), "12 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(200), "3 min 20 s");
  EXPECT_EQ(format_duration(3599.4), "59 min 59 s");
  EXPECT_EQ(format_duration(3599.6), "1 h 00 min");
  EXPECT_EQ(format_duration(3720), "1 h 02 min");
  EXPECT_EQ(format_duration(7199), "2 h 00 min");
  EXPECT_EQ(format_duration(360000), "100 h 00 min");
}

TEST(FormatDuration, SurvivesNonsense) {
  EXPECT_EQ(format_duration(nan), "?");
  EXPECT_EQ(format_duration(infinity), "?");
  EXPECT_EQ(format_duration(1e300), "?");
  EXPECT_EQ(format_duration(-5), "0 s");
  EXPECT_EQ(format_duration(-infinity), "0 s");
}

TEST(FormatBytes, UsesPowersOfAThousand) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.0 kB");
  EXPECT_EQ(format_bytes(1'234'567), "1.2 MB");
  EXPECT_EQ(format_bytes(999'960), "1.0 MB");  // not "1000.0 kB"
  EXPECT_EQ(format_bytes(5e9), "5.0 GB");
  EXPECT_EQ(format_bytes(1e24), "1000000.0 EB");
  EXPECT_EQ(format_bytes(-1), "0 B");
  EXPECT_EQ(format_bytes(nan), "?");
  EXPECT_EQ(format_bytes(infinity), "?");
}

TEST(FormatProgress, ShowsRateShareAndWhatIsLeft) {
  EXPECT_EQ(format_progress({"images", 1000, 0, 420, 10}, "task 1", "loss 0.5"),
            "task 1  42.0 images/s  42%  ETA 14 s  loss 0.5");
  EXPECT_EQ(format_progress({"epochs", 10, 0, 1, 80}, "train", ""),
            "train  0.013 epochs/s  10%  ETA 12 min 00 s");
  EXPECT_EQ(format_progress({"images", 1e6, 0, 123456, 10}, "x", ""),
            "x  12346 images/s  12%  ETA 1 min 11 s");
}

TEST(FormatProgress, AResumedRunCountsOnlyItsOwnWork) {
  EXPECT_EQ(format_progress({"images", 1000, 500, 600, 10}, "x", ""),
            "x  10.0 images/s  60%  ETA 40 s");
}

TEST(FormatProgress, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(format_progress({"images", 1000, 0, 0, 10}, "x", "d"), "x  0%  d");      // no rate yet
  EXPECT_EQ(format_progress({"images", 1000, 0, 500, 0}, "x", ""), "x  50%");        // no time yet
  EXPECT_EQ(format_progress({"images", 0, 0, 50, 10}, "x", ""), "x  5.0 images/s");  // no total
  EXPECT_EQ(format_progress({"images", nan, 0, 50, 10}, "x", ""), "x  5.0 images/s");
  EXPECT_EQ(format_progress({"images", infinity, 0, 50, 10}, "x", ""),
            "x  5.0 images/s  0%  ETA ?");
  EXPECT_EQ(format_progress({"images", 100, 0, nan, 10}, "x", ""), "x");
  EXPECT_EQ(format_progress({"images", 100, 50, 40, 10}, "x", ""), "x  40%");  // went back
  EXPECT_EQ(format_progress({"images", 100, 0, 100, 10}, "x", ""), "x  10.0 images/s  100%");
  EXPECT_EQ(format_progress({"images", 100, 0, 120, 10}, "x", ""), "x  12.0 images/s  100%");
  EXPECT_EQ(format_progress({"images", 1000, 0, 999, 10}, "x", ""),
            "x  99.9 images/s  99%  ETA 0 s");  // 100% only when done
}

TEST(Progress, WritesPlainLinesWhereThereIsNoTerminal) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  {
    Progress progress("images", 100);
    progress.update(10, "task 1", "first");
    progress.update(20, "task 1", "second");  // far less than ten seconds later
    progress.line("an event");
  }
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(written.find_first_of("\r\033"), std::string::npos) << written;
  EXPECT_EQ(written.substr(0, 6), "task 1");
  EXPECT_NE(written.find("10%"), std::string::npos) << written;
  EXPECT_NE(written.find("first\n"), std::string::npos) << written;
  EXPECT_EQ(written.find("second"), std::string::npos) << written;
  EXPECT_NE(written.find("\nan event\n"), std::string::npos) << written;
}

/// What `work` writes to stderr when that is a terminal of so many columns.
template <typename Work>
std::string on_terminal(unsigned short columns, Work work) {
  constexpr char end = '\x01';  // the kernel delivers in pieces: read until this one has come
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0) return {};
  const int other = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY);
  winsize size{};
  size.ws_col = columns;
  ::ioctl(other, TIOCSWINSZ, &size);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(other, STDERR_FILENO);
  ::setenv("TERM", "xterm", 1);
  work();
  ::dup2(saved, STDERR_FILENO);
  std::string written;
  std::array<char, 256> piece;
  ssize_t got = ::write(other, &end, 1);
  while (got > 0 && written.find(end) == std::string::npos) {
    got = ::read(terminal, piece.data(), piece.size());
    if (got > 0) written.append(piece.data(), static_cast<std::size_t>(got));
  }
  written.resize(std::min(written.size(), written.find(end)));
  ::close(saved);
  ::close(other);
  ::close(terminal);
  return written;
}

TEST(Progress, RedrawsOneLineOnATerminal) {
  const std::string written = on_terminal(80, [] {
    Progress progress("images", 100);
    progress.update(10, "task 1", "first");
    progress.line("an event");
    progress.update(20, "task 1", "at once");  // within a tenth of a second
  });
  if (written.empty()) GTEST_SKIP() << "this system gives no pseudo-terminal";
  EXPECT_EQ(written.substr(0, 10), "\r\033[Ktask 1") << written;
  EXPECT_NE(written.find("first\r\033[Kan event\r\n"), std::string::npos) << written;
}

TEST(Progress, ClearsTheLineAtTheEndAndCutsItToTheTerminal) {
  const std::string written = on_terminal(12, [] {
    Progress progress("images", 100);
    progress.update(10, "µµµµµµµµµµµµµµµµµ", "end");
  });
  if (written.empty()) GTEST_SKIP() << "this system gives no pseudo-terminal";
  EXPECT_EQ(written, "\r\033[Kµµµµµµµµµµµ\r\033[K");  // 11 of 12 columns
}

TEST(Progress, KnowsItsTime) {
  const Progress progress("images", 1);
  const double first = progress.seconds();
  EXPECT_GE(first, 0);
  EXPECT_GE(progress.seconds(), first);
}

}  // namespace
}  // namespace cmat
