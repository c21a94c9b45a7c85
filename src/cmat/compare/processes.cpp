#include "cmat/compare/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <list>
#include <thread>

#include "cmat/core/error.h"

extern char** environ;

namespace cmat::compare {
namespace {

/// Sets up a child and frees what posix_spawn needs for it.
class SpawnSetup {
 public:
  explicit SpawnSetup(const std::string& log) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0644);
    posix_spawn_file_actions_adddup2(&actions_, 1, 2);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  pid_t spawn(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_t pid = 0;
    const int error =
        posix_spawn(&pid, arguments[0], &actions_, &attributes_, arguments.data(), environ);
    if (error != 0) failure("cannot start ", command[0], ": ", std::strerror(error));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

struct Running {
  std::size_t job = 0;
  pid_t pid = 0;
  std::uintmax_t read = 0;  ///< bytes of the log that were passed on
};

Running start(const std::vector<Job>& jobs, std::size_t index) {
  const Job& job = jobs[index];
  std::error_code none;
  const std::uintmax_t old = std::filesystem::file_size(job.log, none);
  return {index, SpawnSetup(job.log.string()).spawn(job.command), none ? 0 : old};
}

/// Passes on the whole lines that the log gained.
void pass_on(const Job& job, Running& running, const JobEvents& events) {
  std::ifstream log(job.log, std::ios::binary);
  log.seekg(static_cast<std::streamoff>(running.read));
  std::string line;
  while (std::getline(log, line) && !log.eof()) {
    running.read += line.size() + 1;
    events.line(job, line);
  }
}

/// Whether it has ended, and how.
bool ended(const Running& running, int& exit_code) {
  int status = 0;
  const pid_t found = ::waitpid(running.pid, &status, WNOHANG);
  if (found == 0) return false;
  exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return true;
}

}  // namespace

bool run_jobs(const std::vector<Job>& jobs, std::size_t at_once, const JobEvents& events) {
  std::list<Running> running;
  std::size_t next = 0;
  bool stopping = false;
  while (!running.empty() || (next < jobs.size() && !stopping)) {
    if (!stopping && events.stop()) {
      stopping = true;
      for (const Running& each : running) ::kill(each.pid, SIGTERM);
    }
    while (!stopping && next < jobs.size() && running.size() < at_once)
      running.push_back(start(jobs, next++));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    for (auto each = running.begin(); each != running.end();) {
      int exit_code = 0;
      const bool over = ended(*each, exit_code);
      pass_on(jobs[each->job], *each, events);
      if (over) events.ended({each->job, exit_code});
      each = over ? running.erase(each) : std::next(each);
    }
  }
  return next == jobs.size() && !stopping;
}

std::string own_program() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) failure("cannot find this program's own file: ", error.message());
  return path.string();
}

}  // namespace cmat::compare
