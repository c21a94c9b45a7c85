// Lists of tables in a config: [[task]].
#include <gtest/gtest.h>

#include "cmat/core/config.h"
#include "core/expect_error.h"

namespace cmat {
namespace {

using test::expect_usage_error;

constexpr const char* kTwoTasks = R"(
seed = 3
[[task]]
name = "first"
[task.inner]
size = 5
[[task]]
classes = ["cat", 3]
)";

Config parse_list(const std::string& toml) { return Config::parse(toml, "test.toml"); }

/// What a program that knows these keys reads.
std::string read(Config& config) {
  std::string seen = std::to_string(config.integer("seed", 1, 0, 9));
  const std::int64_t tasks = config.tables("task");
  for (std::int64_t i = 1; i <= tasks; ++i) {
    const std::string prefix = "task." + std::to_string(i) + ".";
    seen += " " + config.string(prefix + "name", "none") + ":" +
            std::to_string(config.integer(prefix + "inner.size", 7, 0, 99));
    for (const NameOrNumber& each : config.names_or_numbers(prefix + "classes")) {
      const auto* number = std::get_if<std::int64_t>(&each);
      seen += number ? "#" + std::to_string(*number) : "," + std::get<std::string>(each);
    }
  }
  return seen;
}

TEST(ConfigList, IsReadByNumber) {
  Config config = parse_list(kTwoTasks), none = parse_list("");
  EXPECT_EQ(read(config), "3 first:5 none:7,cat#3");
  config.finish();
  EXPECT_EQ(read(none), "1");
  none.finish();
}

TEST(ConfigList, ResolvedIsCompleteAndReadsTheSame) {
  Config config = parse_list(kTwoTasks);
  const std::string seen = read(config);
  EXPECT_EQ(config.resolved(),
            "seed = 3\n"
            "\n[[task]]\nclasses = []\nname = \"first\"\n"
            "\n[task.inner]\nsize = 5\n"
            "\n[[task]]\nclasses = [\"cat\", 3]\nname = \"none\"\n"
            "\n[task.inner]\nsize = 7\n");
  Config again = parse_list(config.resolved());
  EXPECT_EQ(read(again), seen);
  again.finish();
  EXPECT_EQ(again.resolved(), config.resolved());
}

TEST(ConfigList, KeepsItsOrderBeyondNine) {
  std::string toml;
  for (int i = 1; i <= 12; ++i) toml += "[[task]]\nname = \"t" + std::to_string(i) + "\"\n";
  Config config = parse_list(toml);
  const std::string seen = read(config);
  Config again = parse_list(config.resolved());
  EXPECT_EQ(read(again), seen);
}

TEST(ConfigList, UnknownKeysAreRefusedWithAGuess) {
  const auto refuse = [](const std::string& toml, const std::vector<std::string>& parts) {
    Config config = parse_list(toml);
    read(config);
    expect_usage_error(parts, [&] { config.finish(); });
  };
  refuse("[[task]]\n[[task]]\nnmae = \"x\"\n", {"task.2.nmae", "line 3", "task.2.name?"});
  refuse("[[task]]\n[task.inner]\nsise = 1\n", {"task.1.inner.sise", "task.1.inner.size?"});
  refuse("[[tasks]]\nname = \"x\"\n", {"unknown key tasks", "did you mean task?"});
}

TEST(ConfigList, MustBeAListOfTables) {
  for (const char* toml : {"task = 1", "task = [1, 2]", "[task]\nname = \"x\""}) {
    Config config = parse_list(toml);
    expect_usage_error({"task in test.toml", "[[task]]"}, [&] { config.tables("task"); });
  }
  Config empty = parse_list("task = []");
  EXPECT_EQ(empty.tables("task"), 0);
  empty.finish();
}

TEST(ConfigList, WrongValuesNameTheirTable) {
  Config config = parse_list("[[task]]\n[[task]]\nname = 4\n");
  expect_usage_error({"task.2.name in test.toml", "the integer 4"}, [&] { read(config); });
  Config classes = parse_list("[[task]]\nclasses = [1.5]\n");
  expect_usage_error({"task.1.classes", "names or numbers", "1.5"}, [&] { read(classes); });
}

TEST(ConfigList, CanBeOverridden) {
  Config config = parse_list(kTwoTasks);
  config.set("task.2.name=second");
  config.set("task.1.inner.size=6");
  EXPECT_EQ(read(config), "3 first:6 second:7,cat#3");
  for (const char* bad : {"task.3.name=x", "task.0.name=x", "task.name=x", "task.1=4", "task=4"}) {
    expect_usage_error({"--set task", "task"}, [&] { config.set(bad); });
  }
}

TEST(ConfigList, TakesOneMoreTable) {
  for (const char* before : {"", "task = []"}) {
    Config config = parse_list(before);
    config.append_table("task", parse_list("name = \"new\"\n[inner]\nsize = 2\n"));
    config.append_table("task", parse_list("classes = [1]\n"));
    EXPECT_EQ(read(config), "1 new:2 none:7#1");
    config.finish();
  }
  Config other = parse_list("task = 3");
  expect_usage_error({"task", "[[task]]"}, [&] { other.append_table("task", parse_list("")); });
}

}  // namespace
}  // namespace cmat
