// The version in the source is the one of the build.
#include "cmat/core/version.h"

#include <gtest/gtest.h>

#include <regex>

#include "app/program.h"
#include "cmat/core/files.h"

namespace cmat::test {
namespace {

TEST(Version, IsTheOneInCMakeLists) {
  const std::string cmake = read_file(environment("CMAT_SOURCE_DIR") + "/CMakeLists.txt");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(cmake, match, std::regex("project\\(cmat VERSION ([0-9.]+)")));
  EXPECT_EQ(match[1], kVersion);
}

TEST(Version, IsWhatTheProgramSays) {
  const Outcome outcome = run_program({"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, std::string("cmat ") + kVersion + "\n");
}

}  // namespace
}  // namespace cmat::test
