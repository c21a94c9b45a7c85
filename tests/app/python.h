// The Python that has torch: CMAT_PYTHON, or the one that scripts/setup made. There is none where
// libtorch came from elsewhere; tests that need it skip themselves.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "app/program.h"

namespace cmat::test {

/// Runs a command; stdout and stderr come back together in `out`.
inline Outcome run_command(const std::vector<std::string>& words) {
  std::string command;
  for (const std::string& word : words) command += "'" + word + "' ";
  std::FILE* pipe = ::popen((command + "2>&1").c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + words.front());
  Outcome outcome;
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) {
    outcome.out.append(buffer, got);
  }
  const int raw = ::pclose(pipe);
  outcome.status = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
  return outcome;
}

inline std::string python() {
  const char* asked = std::getenv("CMAT_PYTHON");
  return asked ? asked : environment("CMAT_SOURCE_DIR") + "/.deps/python/bin/python";
}

inline bool python_has_torch() {
  return run_command({python(), "-W", "ignore", "-c", "import torch"}).status == 0;
}

/// Runs a script with arguments; -B leaves no files beside it.
inline Outcome run_python(const std::vector<std::string>& script) {
  std::vector<std::string> words = {python(), "-B", "-W", "ignore"};
  words.insert(words.end(), script.begin(), script.end());
  return run_command(words);
}

}  // namespace cmat::test
