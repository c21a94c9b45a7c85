// The project's one exception. Every failure that a person can do something about is an Error whose
// message is one sentence: what is wrong, where, and what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace cmat {

/// What the program exits with: a wrong call or config is 2, anything else that fails is 1.
enum class ErrorKind { usage, failure };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// Everything streamed into one string: text("task ", 3, " has ", n, " classes").
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws an Error that blames the caller: a config value, an argument, a file of the user's.
template <typename... Parts>
[[noreturn]] void usage_error(const Parts&... parts) {
  throw Error(ErrorKind::usage, text(parts...));
}

/// Throws an Error about the world: data that is damaged, a disk that is full, a device not there.
template <typename... Parts>
[[noreturn]] void failure(const Parts&... parts) {
  throw Error(ErrorKind::failure, text(parts...));
}

}  // namespace cmat
