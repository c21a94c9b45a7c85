// fuzz: feeds the parsers with inputs that are almost good. Equal arguments give equal inputs.
//
//   fuzz [--target NAME] [--inputs N] [--seed S] [--corpus DIR] [--found DIR]
//
// Each target runs in a process of its own, which may die of an input: what the kernel or a
// sanitizer ends is a defect like a wrong exception. The input is then kept in --found.
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "cmat/core/files.h"
#include "cmat/core/random.h"
#include "core/temporary_folder.h"
#include "fuzz/check.h"
#include "fuzz/coverage.h"
#include "fuzz/mutate.h"
#include "fuzz/target.h"

// More than this for one input of 64 KB at most is a defect. Messages of the allocator go to
// stderr.
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=256"; }

namespace cmat::fuzz {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string target;
  std::uint64_t inputs = 10'000, seed = 1;
  bool unguided = false;
  fs::path corpus, found = "fuzz-found";
};

/// Where the child leaves what it works on, for the parent to find after its death.
struct Shared {
  std::uint64_t number;
  std::size_t size;
  char input[4 * kLargestInput];
};

/// Ends the process when an input takes more than five seconds of its time: far more than any
/// needs, also with sanitizers on a slow machine.
void start_clock() {
  const itimerval limit{{0, 0}, {5, 0}};
  ::setitimer(ITIMER_PROF, &limit, nullptr);
}

void check(const Target& target, const std::string& input, Shared& shared) {
  ++shared.number;
  shared.size = std::min(input.size(), sizeof shared.input);
  std::memcpy(shared.input, input.data(), shared.size);
  start_clock();
  const std::string defect = defect_of(target, input);
  if (defect.empty()) return;
  std::cerr << defect << "\n";
  ::_exit(3);
}

std::vector<std::string> corpus_of(const Target& target, const fs::path& corpus) {
  std::vector<std::string> inputs = target.seeds;
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(corpus / target.name, none)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) inputs.push_back(read_file(file));
  return inputs;
}

/// The child's work. New paths through the code make an input a base for others.
void run_target(const Target& target, const Options& options, Shared& shared) {
  std::vector<std::string> pool = corpus_of(target, options.corpus);
  if (pool.empty()) pool.emplace_back();
  for (const std::string& input : pool) {
    begin_coverage();
    check(target, input, shared);
    found_new_coverage();
  }
  for (std::uint64_t i = 0; i < options.inputs; ++i) {
    Random random({.seed = options.seed, .sample = i});
    const std::string& base = pool[random.below(pool.size())];
    const std::string& other = pool[random.below(pool.size())];
    std::string input = mutate(target, base, other, random);
    begin_coverage();
    check(target, input, shared);
    if (found_new_coverage() && !options.unguided) pool.push_back(std::move(input));
  }
  std::cout << target.name << ": " << shared.number << " inputs, " << pool.size()
            << " paths, no defect\n";
}

const Target& find(const std::vector<Target>& all, const std::string& name) {
  return *std::find_if(all.begin(), all.end(), [&](const Target& t) { return t.name == name; });
}

/// False: an input was found that the target cannot bear.
bool fuzz_in_child(const std::string& name, const Options& options) {
  const test::TemporaryFolder scratch;
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) failure("no shared memory");
  auto& shared = *static_cast<Shared*>(memory);
  std::cout.flush();
  const pid_t child = ::fork();
  if (child < 0) failure("cannot fork");
  if (child == 0) {
    ::setenv("TMPDIR", scratch.path().c_str(), 1);
    run_target(find(all_targets(), name), options, shared);
    std::exit(0);  // with the leak check
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const bool good = status == 0;
  if (!good) {
    fs::create_directories(options.found);
    const std::string input(shared.input, shared.size);
    const fs::path file = options.found / (name + "-" + sha256_hex(input).substr(0, 12));
    std::ofstream(file, std::ios::binary) << input;
    std::cout << name << ": a defect at input " << shared.number << " ("
              << (WIFSIGNALED(status) ? ::strsignal(WTERMSIG(status)) : "see above")
              << "), kept as " << file.string() << "\n";
  }
  ::munmap(memory, sizeof(Shared));
  return good;
}

int run(const Options& options) {
  std::vector<std::string> names;
  for (const Target& each : all_targets()) names.push_back(each.name);
  if (!options.target.empty()) {
    if (std::find(names.begin(), names.end(), options.target) == names.end()) {
      std::cerr << "error: there is no target " << options.target << "\n";
      return 2;
    }
    names = {options.target};
  }
  // Targets that need files write very many: into memory, where there is such a folder.
  if (!std::getenv("TMPDIR") && fs::is_directory("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 1);
  bool good = true;
  for (const std::string& name : names) good = fuzz_in_child(name, options) && good;
  return good ? 0 : 1;
}

}  // namespace
}  // namespace cmat::fuzz

int main(int argc, char** argv) {
  cmat::fuzz::Options options;
  if (const char* source = std::getenv("CMAT_SOURCE_DIR")) {
    options.corpus = std::filesystem::path(source) / "tests" / "fuzz" / "corpus";
  }
  CLI::App app{"Feeds the parsers of CMAT with inputs that are almost good"};
  app.add_option("--target", options.target, "One target only");
  app.add_option("--inputs", options.inputs, "Inputs of each target");
  app.add_option("--seed", options.seed, "Other inputs");
  app.add_flag(
      "--unguided", options.unguided,
      "Mutate the corpus alone, not what reached new code: the same inputs in every build");
  app.add_option("--corpus", options.corpus, "Good inputs and earlier defects, DIR/TARGET/*");
  app.add_option("--found", options.found, "Where inputs are kept that show a defect");
  CLI11_PARSE(app, argc, argv);
  return cmat::fuzz::run(options);
}
