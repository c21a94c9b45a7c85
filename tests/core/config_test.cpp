#include "cmat/core/config.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>

#include "cmat/core/files.h"
#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat {
namespace {

using test::expect_usage_error;
using Integers = std::vector<std::int64_t>;

constexpr double no_limit = std::numeric_limits<double>::infinity();

Config parse(std::string_view toml) { return Config::parse(toml, "FILE"); }

TEST(Config, ReadsEveryType) {
  Config config = parse(R"(
name = "run"
[train]
epochs = 5
rate = 0.25
whole = 2
flip = true
milestones = [3, 4]
decays = [1, 0.5]
tags = ["a", "b"]
[tasks.split]
order = [[0, 6], [2, 4]]
)");
  EXPECT_EQ(config.string("name", ""), "run");
  EXPECT_EQ(config.integer("train.epochs", 1, 1, 10), 5);
  EXPECT_EQ(config.number("train.rate", 1, 0, 1), 0.25);
  EXPECT_EQ(config.number("train.whole", 1, 0, 10), 2.0);  // integers are numbers too
  EXPECT_TRUE(config.boolean("train.flip", false));
  EXPECT_EQ(config.integers("train.milestones", {}), (Integers{3, 4}));
  EXPECT_EQ(config.numbers("train.decays", {}), (std::vector<double>{1, 0.5}));
  EXPECT_EQ(config.strings("train.tags", {}), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.integer_lists("tasks.split.order", {}), (std::vector<Integers>{{0, 6}, {2, 4}}));
  EXPECT_NO_THROW(config.finish());
}

TEST(Config, WhatIsNotThereHasItsDefault) {
  Config config = parse("");
  EXPECT_EQ(config.string("a", "x", {"x", "y"}), "x");
  EXPECT_EQ(config.integer("b", 7, 0, 10), 7);
  EXPECT_EQ(config.number("c", 0.5, 0, 1), 0.5);
  EXPECT_TRUE(config.boolean("d", true));
  EXPECT_EQ(config.pixels("e", "8/255"), 8.0 / 255);
  EXPECT_EQ(config.integers("f", {1}), Integers{1});
  EXPECT_EQ(config.integer_lists("g.h", {{1}, {}}), (std::vector<Integers>{{1}, {}}));
  EXPECT_NO_THROW(config.finish());
}

TEST(Config, HasLooksOnlyAtWhatIsSet) {
  Config config = parse("[train]\nepochs = 5\n");
  EXPECT_TRUE(config.has("train.epochs"));
  EXPECT_TRUE(config.has("train"));
  EXPECT_FALSE(config.has("train.rate"));
  EXPECT_FALSE(config.has("train.epochs.more"));
  EXPECT_FALSE(config.has(""));
  config.integer("train.rate", 1, 0, 1);
  EXPECT_FALSE(config.has("train.rate"));  // a default is not set
}

TEST(Config, AWrongTypeIsToldWithWhatWasFound) {
  Config config = parse(R"(
ten = "ten"
real = 5.0
date = 2024-01-02
list = [1, "x"]
[table]
)");
  expect_usage_error({"ten in FILE must be an integer from 1 to 100000, but is the string \"ten\""},
                     [&] { config.integer("ten", 1, 1, 100000); });
  expect_usage_error({"real", "an integer", "the number 5.0"},
                     [&] { config.integer("real", 1, 1, 9); });
  expect_usage_error({"date", "true or false", "a date or time"},
                     [&] { config.boolean("date", true); });
  expect_usage_error({"table", "a string", "a table"}, [&] { config.string("table", ""); });
  expect_usage_error({"list", "a number", "a list"}, [&] { config.number("list", 1, 0, 1); });
  expect_usage_error({"list", "a list of integers", "its entry 2 is the string \"x\""},
                     [&] { config.integers("list", {}); });
  expect_usage_error({"list", "a list of lists of integers", "its entry 1 is the integer 1"},
                     [&] { config.integer_lists("list", {}); });
  expect_usage_error({"ten", "a list of strings", "the string \"ten\""},
                     [&] { config.strings("ten", {}); });
}

TEST(Config, RangesIncludeTheirEnds) {
  Config config = parse("low = 1\nhigh = 9\nrate = 0.5\n");
  EXPECT_EQ(config.integer("low", 5, 1, 9), 1);
  EXPECT_EQ(config.integer("high", 5, 1, 9), 9);
  EXPECT_EQ(config.number("rate", 1, 0.5, 0.5), 0.5);
  expect_usage_error({"from 2 to 9", "the integer 1"}, [&] { config.integer("low", 5, 2, 9); });
  expect_usage_error({"from 1 to 8", "the integer 9"}, [&] { config.integer("high", 5, 1, 8); });
  expect_usage_error({"from 0 to 0.25", "the number 0.5"},
                     [&] { config.number("rate", 0, 0, 0.25); });
  expect_usage_error({"a number of at least 1,"}, [&] { config.number("rate", 2, 1, no_limit); });
}

TEST(Config, NumbersAreFinite) {
  for (const std::string value : {"nan", "inf", "-inf"}) {
    SCOPED_TRACE(value);
    Config config = parse("x = " + value + "\ny = [1, " + value + "]\n");
    expect_usage_error({"x in FILE"}, [&] { config.number("x", 0, -no_limit, no_limit); });
    expect_usage_error({"x in FILE"}, [&] { config.pixels("x", "0"); });
    expect_usage_error({"y in FILE"}, [&] { config.numbers("y", {}); });
  }
}

TEST(Config, AChoiceNamesTheNearestOne) {
  Config config = parse("method = \"cmta\"\nother = \"zzz\"\n");
  expect_usage_error({"method in FILE must be \"cmat\", \"cpg\" or \"joint\"",
                      "the string \"cmta\"", "did you mean \"cmat\"?"},
                     [&] {
                       config.string("method", "cpg", {"cmat", "cpg", "joint"});
                     });
  expect_usage_error({"but is the string \"zzz\""}, [&] {
    config.required_string("other", {"cmat", "cpg"});
  });
  EXPECT_EQ(config.required_string("other"), "zzz");
  expect_usage_error({"attack.name in FILE is missing", "\"pgd\" or \"fgsm\""}, [&] {
    config.required_string("attack.name", {"pgd", "fgsm"});
  });
}

TEST(Config, PixelsTakeAFractionOrANumber) {
  Config config = parse("a = \"8/255\"\nb = 0.1\nc = 1\nd = 8\ne = true\nf = 3\n");
  EXPECT_EQ(config.pixels("a", "0"), 8.0 / 255);
  EXPECT_EQ(config.pixels("b", "0"), 0.1);
  EXPECT_EQ(config.pixels("c", "0"), 1);
  EXPECT_EQ(config.pixels("f", "0", 5), 3);
  expect_usage_error({"d in FILE", "\"8/255\""}, [&] { config.pixels("d", "0"); });
  expect_usage_error({"e in FILE", "the boolean true"}, [&] { config.pixels("e", "0"); });
}

TEST(Config, AFileThatIsNotTomlIsToldWithLineAndColumn) {
  expect_usage_error({"FILE, line 2, column 5: "}, [] { parse("a = 1\nb = \n"); });
  expect_usage_error({"FILE, line 2"}, [] { parse("a = 1\na = 2\n"); });
  expect_usage_error({"FILE, line 1"}, [] { parse("a = \"\xff\"\n"); });
}

TEST(Config, LoadNamesTheFile) {
  const test::TemporaryFolder folder;
  expect_usage_error({(folder / "none.toml").string()},
                     [&] { Config::load(folder / "none.toml"); });
  write_file_atomic(folder / "bad.toml", "[train\n");
  expect_usage_error({(folder / "bad.toml").string() + ", line 1"},
                     [&] { Config::load(folder / "bad.toml"); });
  write_file_atomic(folder / "good.toml", "a = 1\n");
  EXPECT_EQ(Config::load(folder / "good.toml").integer("a", 0, 0, 9), 1);
}

TEST(ConfigSet, ReadsTomlOrElseAString) {
  Config config = parse("[train]\nepochs = 5\n");
  for (const char* assignment :
       {"train.epochs=7", "method=cmat", "attack.eps = 8/255", "rate=1e-3", "flip=true",
        "steps=[1, 2]", "quoted=\"5\"", "equals=a=b", "empty=", "lines=5\nhidden = 6"}) {
    config.set(assignment);
  }
  EXPECT_EQ(config.integer("train.epochs", 1, 1, 100), 7);
  EXPECT_EQ(config.string("method", ""), "cmat");
  EXPECT_EQ(config.pixels("attack.eps", "0"), 8.0 / 255);
  EXPECT_EQ(config.number("rate", 0, 0, 1), 1e-3);
  EXPECT_TRUE(config.boolean("flip", false));
  EXPECT_EQ(config.integers("steps", {}), (Integers{1, 2}));
  EXPECT_EQ(config.string("quoted", ""), "5");
  EXPECT_EQ(config.string("equals", ""), "a=b");
  EXPECT_EQ(config.string("empty", "x"), "");
  EXPECT_EQ(config.string("lines", ""), "5\nhidden = 6");
  EXPECT_FALSE(config.has("hidden"));
  EXPECT_NO_THROW(config.finish());
}

TEST(ConfigSet, TheLastOneWins) {
  Config config = parse("");
  config.set("a=1");
  config.set("a=2");
  EXPECT_EQ(config.integer("a", 0, 0, 9), 2);
}

TEST(ConfigSet, RefusesNonsense) {
  Config config = parse("[train]\nepochs = 5\n");
  for (const char* assignment : {"train.epochs", "", "=5", "a..b=1", ".a=1", "a.=1", "a b=1"}) {
    SCOPED_TRACE(assignment);
    expect_usage_error({"--set needs KEY=VALUE"}, [&] { config.set(assignment); });
  }
  expect_usage_error({"--set train names a table"}, [&] { config.set("train=1"); });
  expect_usage_error({"--set x is given a table"}, [&] { config.set("x={a=1}"); });
  expect_usage_error(
      {"--set train.epochs.x needs a table, but train.epochs in FILE is the integer 5"},
      [&] { config.set("train.epochs.x=1"); });
}

TEST(ConfigSet, ErrorsNameItAndNotTheFile) {
  Config config = parse("[train]\nepochs = 5\n");
  config.set("train.epochs=ten");
  config.set("train.epohcs=5");
  expect_usage_error({"train.epochs in --set must be", "\"ten\""},
                     [&] { config.integer("train.epochs", 1, 1, 9); });
  config.set("train.epochs=5");
  config.integer("train.epochs", 1, 1, 9);
  expect_usage_error({"unknown key train.epohcs in --set", "did you mean train.epochs?"},
                     [&] { config.finish(); });
}

TEST(ConfigFinish, RefusesUnknownKeysWithTheNearestKnownOne) {
  const auto check = [](std::string_view toml, const std::vector<std::string>& parts) {
    Config config = parse(toml);
    config.integer("train.epochs", 1, 1, 9);
    config.number("train.rate", 1, 0, 1);
    expect_usage_error(parts, [&] { config.finish(); });
  };
  check("[train]\nrate = 1\nepoch = 5\n",
        {"unknown key train.epoch in FILE, line 3; did you mean train.epochs?"});
  check("epochs = 5\n", {"unknown key epochs in FILE, line 1; did you mean train.epochs?"});
  check("[trian]\nepochs = 5\n", {"unknown key trian.epochs", "did you mean train.epochs?"});
  check("[train.inner.deep]\nx = 5\n", {"unknown key train.inner.deep.x", "remove it"});
  check("[elsewhere]\n", {"unknown key elsewhere", "remove it"});
  check("\"train.epochs\" = 5\n", {"unknown key \"train.epochs\""});
  check("train = 5\n", {"train in FILE, line 1 must be a table of settings, but is the integer 5"});
  check("zzz = 1\n[a]\nb = 1\n", {"unknown key zzz in FILE, line 1"});  // the first of several
}

TEST(ConfigFinish, KnowsKeysThatAreAskedTwiceAndEmptyTables) {
  Config config = parse("[train]\n");
  EXPECT_EQ(config.integer("train.epochs", 3, 1, 9), 3);
  EXPECT_EQ(config.integer("train.epochs", 3, 1, 9), 3);
  EXPECT_NO_THROW(config.finish());
}

std::string ask_everything(Config& config) {
  config.string("name", "say \"hi\" \\ \t\n\x01 µ");
  config.string("norm", "", {"linf", "l2"});
  config.integer("train.epochs", std::numeric_limits<std::int64_t>::min(), 0, 9);
  config.number("train.rate", 0.1, 0, 1);
  config.number("train.whole", 3, 0, 9);
  config.number("train.tiny", 5e-324, 0, 1);
  config.number("train.huge", 1e300, 0, no_limit);
  config.boolean("train.augment.flip", true);
  config.pixels("attack.eps", "8 / 255");
  config.pixels("attack.step", "2/255");
  config.integers("lists.integers", {-1, 2});
  config.numbers("lists.numbers", {1, 1.0 / 3});
  config.strings("lists.strings", {"a", "b\"c"});
  config.strings("lists.none", {});
  config.integer_lists("lists.nested", {{0, 6}, {}, {2, 4}});
  config.finish();
  return config.resolved();
}

TEST(ConfigResolved, LoadsToTheSameConfig) {
  Config first = parse("[attack]\nstep = 0.007\n[train]\nwhole = 4\n");
  const std::string resolved = ask_everything(first);
  Config second = parse(resolved);
  EXPECT_EQ(ask_everything(second), resolved);
  EXPECT_EQ(second.string("name", ""), "say \"hi\" \\ \t\n\x01 µ");
  EXPECT_EQ(second.number("train.tiny", 0, 0, 1), 5e-324);
  EXPECT_EQ(second.number("train.whole", 0, 0, 9), 4);
  EXPECT_EQ(second.pixels("attack.step", "0"), 0.007);
  EXPECT_EQ(second.numbers("lists.numbers", {})[1], 1.0 / 3);
  EXPECT_EQ(second.integer_lists("lists.nested", {}), (std::vector<Integers>{{0, 6}, {}, {2, 4}}));
}

TEST(ConfigResolved, IsGroupedInTablesAndKeepsTheText) {
  Config config = parse("");
  config.set("attack.eps=8/255");
  config.number("train.rate", 1, 0, 1);
  config.pixels("attack.eps", "0");
  config.integer("seed", 1, 0, 9);
  config.boolean("train.augment.flip", false);
  config.integer("train.epochs", 3, 0, 9);
  EXPECT_EQ(config.resolved(),
            "seed = 1\n"
            "\n[attack]\neps = \"8/255\"\n"
            "\n[train]\nepochs = 3\nrate = 1.0\n"
            "\n[train.augment]\nflip = false\n");
}

TEST(Config, CanBeMoved) {
  Config first = parse("a = 1\n");
  Config second = std::move(first);
  EXPECT_EQ(second.integer("a", 0, 0, 9), 1);
}

TEST(Nearest, FindsSlipsOnly) {
  const std::vector<std::string> words = {"epochs", "rate", "pgd", "x"};
  EXPECT_EQ(nearest("epoch", words), "epochs");
  EXPECT_EQ(nearest("epohcs", words), "epochs");
  EXPECT_EQ(nearest("PGD", words), "pgd");
  EXPECT_EQ(nearest("rtae", words), "rate");
  EXPECT_EQ(nearest("rate", words), "rate");
  EXPECT_EQ(nearest("momentum", words), "");
  EXPECT_EQ(nearest("y", words), "");  // every letter replaced is no slip
  EXPECT_EQ(nearest("", words), "");
  EXPECT_EQ(nearest("epochs", {}), "");
  EXPECT_EQ(nearest(std::string(100'000, 'e'), words), "");
}

}  // namespace
}  // namespace cmat
