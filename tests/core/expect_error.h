// Checks on the one exception of the project: that it comes, of which kind, and what it says.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "cmat/core/error.h"

namespace cmat::test {

/// Fails unless `call` throws an Error of this kind whose message has all of `parts` in one line.
template <typename Call>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, Call call) {
  std::optional<Error> thrown;
  try {
    call();
  } catch (const Error& error) {
    thrown = error;
  }
  ASSERT_TRUE(thrown) << "nothing was thrown; expected a message with: " << parts.front();
  const std::string message = thrown->what();
  EXPECT_EQ(thrown->kind(), kind) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << '"' << part << "\" is not in: " << message;
  }
}

template <typename Call>
void expect_usage_error(const std::vector<std::string>& parts, Call call) {
  expect_error(ErrorKind::usage, parts, call);
}

template <typename Call>
void expect_failure(const std::vector<std::string>& parts, Call call) {
  expect_error(ErrorKind::failure, parts, call);
}

}  // namespace cmat::test
