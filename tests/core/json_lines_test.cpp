#include "cmat/core/json_lines.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat::test {
namespace {

using nlohmann::json;

class JsonLines : public testing::Test {
 protected:
  /// The values of "n" in a file with this content; its lines go to lines_.
  std::vector<int> numbers(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
    std::vector<int> list;
    lines_.clear();
    read_json_lines(path_, [&](const json& record, const std::string& line) {
      list.push_back(record.value("n", 0));
      lines_.push_back(line);
    });
    return list;
  }
  const TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "log.jsonl";
  std::vector<std::string> lines_;
};

TEST_F(JsonLines, InOrderWithTheirText) {
  EXPECT_EQ(numbers("{\"n\": 3}\n\n{ \"n\":1.0}\n{}\n"), (std::vector<int>{3, 1, 0}));
  EXPECT_EQ(lines_, (std::vector<std::string>{"{\"n\": 3}", "{ \"n\":1.0}", "{}"}));
  EXPECT_TRUE(numbers("").empty());
}

TEST_F(JsonLines, AFileThatIsNotThere) {
  read_json_lines(folder_ / "none", [](const json&, const std::string&) { FAIL(); });
}

TEST_F(JsonLines, ALastLineWithoutItsEnd) {
  EXPECT_EQ(numbers("{\"n\":1}\n{\"n\":"), std::vector<int>{1});
  EXPECT_EQ(numbers("{\"n\":1}\n{\"n\":2}"), (std::vector<int>{1, 2}));
}

TEST_F(JsonLines, Damage) {
  for (const char* damaged : {"{\"n\":", "[1]", "7", "no"}) {
    expect_failure({"log.jsonl", "line 2", "not a JSON object"},
                   [&] { numbers(text("{\"n\":1}\n", damaged, "\n{\"n\":2}\n")); });
  }
  expect_failure({"log.jsonl", "line 3", "another type"},
                 [&] { numbers("{}\n{\"n\":1}\n{\"n\":\"1\"}\n"); });
}

}  // namespace
}  // namespace cmat::test
