#include "cmat/report/wording.h"

#include <gtest/gtest.h>

#include <limits>

namespace cmat::report {
namespace {

const std::string kReplacement = "\xEF\xBF\xBD";

TEST(Wording, NumbersAsTheReportsWriteThem) {
  EXPECT_EQ(percent(0.8123), "81.2");
  EXPECT_EQ(percent(1.0), "100.0");
  EXPECT_EQ(percent(std::nullopt), "-");
  EXPECT_EQ(percent_interval(0.79, 0.8349), "[79.0, 83.5]");
  EXPECT_EQ(percent_interval(0.79, std::nullopt), "-");
  EXPECT_EQ(percent_with_error(0.812, 0.0062), "81.2 ± 0.6");
  EXPECT_EQ(percent_with_error(0.812, std::nullopt), "81.2");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-123456), "-123,456");
  EXPECT_EQ(fixed(-0.04, 1), "0.0");
  EXPECT_EQ(fixed(-0.06, 1), "-0.1");
  EXPECT_EQ(fixed(std::numeric_limits<double>::max(), 1).size(), 311U);
}

TEST(Wording, PointsAreZeroOnlyForNothing) {
  EXPECT_EQ(points(0.0, false), "0.0");
  EXPECT_EQ(points(-0.0, true), "0.0");
  EXPECT_EQ(points(5.6e-18, true), "0.0");
  EXPECT_EQ(points(0.0003, false), "0.03");
  EXPECT_EQ(points(-0.0001, false), "-0.01");
  EXPECT_EQ(points(0.023, false), "2.3");
  EXPECT_EQ(points(0.023, true), "+2.3");
  EXPECT_EQ(points(-0.023, true), "-2.3");
  EXPECT_EQ(points(std::nullopt, true), "-");
}

TEST(Wording, ControlCharactersAndMalformedTextAreReplaced) {
  EXPECT_EQ(printable("Schößling"), "Schößling");
  EXPECT_EQ(printable("a\x1B[31mb"), "a" + kReplacement + "[31mb");
  EXPECT_EQ(printable("a\nb\x7F"), "a" + kReplacement + "b" + kReplacement);
  EXPECT_EQ(printable("\xC2\x9B"
                      "1m"),
            kReplacement + kReplacement + "1m");  // C1's own escape
  EXPECT_EQ(printable("\xFF"), kReplacement);
  EXPECT_EQ(printable("\xC3"), kReplacement);                     // cut off
  EXPECT_EQ(printable("\xC0\xAF"), kReplacement + kReplacement);  // overlong
  EXPECT_EQ(columns(printable("\xED\xA0\x80")), 3U);              // surrogate
  EXPECT_EQ(printable("\xE2\x80\xAE"
                      "x")
                .substr(0, 3),
            kReplacement);  // right to left
  EXPECT_EQ(printable("\xF0\x9F\x90\xB1"), "\xF0\x9F\x90\xB1");
}

TEST(Wording, ClippingCountsCharacters) {
  EXPECT_EQ(clipped("Schößling", 9), "Schößling");
  EXPECT_EQ(clipped("Schößling", 6), "Schöß…");
  EXPECT_EQ(columns("Schöß…"), 6U);
  EXPECT_EQ(clipped("abc", 1), "…");
  EXPECT_EQ(clipped("abc", 0), "");
}

TEST(Wording, WrapsAtSpaces) {
  EXPECT_EQ(wrapped("one two three", 7), "one two\nthree");
  EXPECT_EQ(wrapped("one two three", 7, 2), "one two\n  three");
  EXPECT_EQ(wrapped("abcdefghij k", 4), "abcdefghij\nk");
  EXPECT_EQ(wrapped("", 4), "");
  EXPECT_EQ(wrapped("a b", 1, 2), "a\n  b");
}

}  // namespace
}  // namespace cmat::report
