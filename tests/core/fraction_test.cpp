#include "cmat/core/fraction.h"

#include <gtest/gtest.h>

#include <clocale>
#include <string>

#include "core/expect_error.h"
#include "golden_file.h"

namespace cmat {
namespace {

using test::expect_usage_error;

TEST(FractionGolden, AcceptedTextsHaveTheirValues) {
  const nlohmann::json table = test::golden("schedules.json").at("epsilon").at("parse");
  ASSERT_FALSE(table.empty());
  for (const nlohmann::json& row : table) {
    const std::string words = row.at("text");
    SCOPED_TRACE('"' + words + '"');
    const double value = parse_fraction(words, "eps");
    EXPECT_EQ(value, row.at("value").get<double>());
    EXPECT_EQ(static_cast<float>(value), row.at("float32").get<float>());
    EXPECT_EQ(parse_eps_pixels(words, "eps"), value);
  }
}

TEST(FractionGolden, RejectedTextsAreUsageErrors) {
  const nlohmann::json table = test::golden("schedules.json").at("epsilon").at("reject");
  ASSERT_FALSE(table.empty());
  for (const nlohmann::json& row : table) {
    const std::string words = row;
    SCOPED_TRACE('"' + words + '"');
    expect_usage_error({"attack.eps", '"' + words + '"', "8/255"},
                       [&] { parse_fraction(words, "attack.eps"); });
    expect_usage_error({"attack.eps"}, [&] { parse_eps_pixels(words, "attack.eps"); });
  }
}

TEST(Fraction, RefusesWhatIsNearlyANumber) {
  for (const char* words : {"+8/255", "-0", ".", "1e", "8,5", "8 255", "1e300/1e-300", "0/0",
                            "1e-999", "\n8/255", "infinity", "NaN", "8/inf", "0x1p-3", "1e5e5"}) {
    SCOPED_TRACE(words);
    expect_usage_error({"eps must be"}, [&] { parse_fraction(words, "eps"); });
  }
}

TEST(Fraction, DoesNotLimitTheValueItself) {
  EXPECT_EQ(parse_fraction("8", "size"), 8);
  EXPECT_EQ(parse_fraction("300/2", "size"), 150);
}

TEST(Fraction, APointIsAPointInEveryLocale) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"}) {
    if (!std::setlocale(LC_ALL, name)) continue;
    EXPECT_EQ(parse_fraction("0.5", "eps"), 0.5) << name;
    EXPECT_EQ(format_eps(0.5), "0.5 (127.5/255)") << name;
  }
  std::setlocale(LC_ALL, before.c_str());
}

TEST(EpsPixels, AsksWhetherWholeLevelsWereMeant) {
  expect_usage_error({"eps must be at most 1", "is \"8\"", "did you mean \"8/255\"?"},
                     [] { parse_eps_pixels("8", "eps"); });
  expect_usage_error({"did you mean \"1.5/255\"?"}, [] { parse_eps_pixels(" 1.5 ", "eps"); });
}

TEST(EpsPixels, DoesNotSuggestWhatWouldBeRefusedToo) {
  for (const char* words : {"256", "300/255"}) {
    try {
      parse_eps_pixels(words, "eps");
      ADD_FAILURE() << words << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("did you mean"), std::string::npos) << error.what();
    }
  }
}

TEST(EpsPixels, TheLimitBelongsToTheNorm) {
  EXPECT_EQ(parse_eps_pixels("1", "eps"), 1);
  EXPECT_EQ(parse_eps_pixels("3.5", "eps", 10), 3.5);
  expect_usage_error({"at most 10"}, [] { parse_eps_pixels("10.1", "eps", 10); });
}

TEST(FormatEps, ShowsBothUnits) {
  EXPECT_EQ(format_eps(8.0 / 255), "0.0313725 (8/255)");
  EXPECT_EQ(format_eps(0), "0 (0/255)");
  EXPECT_EQ(format_eps(0.03), "0.03 (7.65/255)");
  EXPECT_EQ(format_eps(1), "1 (255/255)");
}

}  // namespace
}  // namespace cmat
