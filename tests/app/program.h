// Runs the real program (CMAT_PROGRAM) as a user would: arguments in; exit status, stdout and
// stderr out; and kills it at chosen instants.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cmat::test {

using Arguments = std::vector<std::string>;

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value) throw std::runtime_error(std::string(name) + " is not set: run the test with ctest");
  return value;
}

struct Outcome {
  int status = -1;  ///< exit status, or 128 + the signal that ended it
  std::string out, err;
};

/// A running program; killed on destruction if it still runs.
class Program {
 public:
  /// `prepare` is called in the new process before it becomes the program: limits, environment.
  explicit Program(
      const Arguments& arguments, const std::function<void()>& prepare = [] {})
      : out_(std::tmpfile()), err_(std::tmpfile()) {
    if (!out_ || !err_) throw std::runtime_error("no temporary file");
    const std::string program = environment("CMAT_PROGRAM");
    std::vector<const char*> argv = {program.c_str()};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      ::dup2(::fileno(out_), STDOUT_FILENO);
      ::dup2(::fileno(err_), STDERR_FILENO);
      prepare();
      ::execv(program.c_str(), const_cast<char* const*>(argv.data()));
      ::_exit(127);
    }
  }
  ~Program() {
    if (running()) {
      send(SIGKILL);
      wait();
    }
    std::fclose(out_);
    std::fclose(err_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const { ::kill(pid_, signal); }

  bool running() {
    if (!ended_) note(::waitpid(pid_, &raw_, WNOHANG));
    return !ended_;
  }

  Outcome wait() {
    while (!ended_) note(::waitpid(pid_, &raw_, 0));
    const int status = WIFSIGNALED(raw_) ? 128 + WTERMSIG(raw_) : WEXITSTATUS(raw_);
    return {status, content(out_), content(err_)};
  }

  /// Sends the signal as soon as `moment` says so. False: the program ended before.
  bool send_when(int signal, const std::function<bool()>& moment) {
    while (running()) {
      if (moment()) {
        send(signal);
        return true;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return false;
  }

 private:
  void note(pid_t waited) { ended_ = waited == pid_; }

  static std::string content(std::FILE* file) {
    std::rewind(file);
    std::string text;
    char buffer[4096];
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file)) {
      text.append(buffer, got);
    }
    return text;
  }

  std::FILE* out_;
  std::FILE* err_;
  pid_t pid_ = -1;
  int raw_ = 0;
  bool ended_ = false;
};

inline Outcome run_program(
    const Arguments& arguments, const std::function<void()>& prepare = [] {}) {
  return Program(arguments, prepare).wait();
}

inline Arguments operator+(Arguments left, const Arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

/// {"a=1", "b=2"} -> {"--set", "a=1", "--set", "b=2"}
inline Arguments set(const Arguments& assignments) {
  Arguments result;
  for (const std::string& assignment : assignments) {
    result.emplace_back("--set");
    result.push_back(assignment);
  }
  return result;
}

}  // namespace cmat::test
