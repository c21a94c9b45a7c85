// What every refusal of the program looks like: one sentence, the right exit status.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "app/program.h"

namespace cmat::test {

/// The last line of stderr, which must be the only one unless `after_others`, is an error with all
/// these parts.
inline void expect_error_line(const Outcome& outcome, int status,
                              const std::vector<std::string>& parts, bool after_others = false) {
  EXPECT_EQ(outcome.status, status) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  ASSERT_FALSE(outcome.err.empty());
  ASSERT_EQ(outcome.err.back(), '\n');
  std::string line = outcome.err.substr(0, outcome.err.size() - 1);
  if (after_others) line = line.substr(line.rfind('\n') + 1);
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  EXPECT_TRUE(line.starts_with("error: ")) << line;
  EXPECT_EQ(line.find(". "), std::string::npos) << "more than one sentence: " << line;
  for (const char* foreign :
       {"json.exception", "c10::", "at::", "std::", "terminate", "unexpected,"}) {
    EXPECT_EQ(line.find(foreign), std::string::npos) << line;
  }
  for (const std::string& part : parts) {
    EXPECT_NE(line.find(part), std::string::npos) << '"' << part << "\" is not in: " << line;
  }
}

inline void expect_refused(const Arguments& arguments, int status,
                           const std::vector<std::string>& parts) {
  SCOPED_TRACE(::testing::PrintToString(arguments));
  expect_error_line(run_program(arguments), status, parts);
}

}  // namespace cmat::test
