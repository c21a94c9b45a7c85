// The same targets for clang's libFuzzer (CONTRIBUTING.md has the command). CMAT_FUZZ_TARGET names
// the one to run.
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const cmat::fuzz::Target target = [] {
    const char* name = std::getenv("CMAT_FUZZ_TARGET");
    for (cmat::fuzz::Target& each : cmat::fuzz::all_targets()) {
      if (name && each.name == name) return each;
    }
    std::cerr << "CMAT_FUZZ_TARGET must name a target of tests/fuzz\n";
    std::exit(2);
  }();
  const std::string defect =
      cmat::fuzz::defect_of(target, {reinterpret_cast<const char*>(data), size});
  if (defect.empty()) return 0;
  std::cerr << defect << "\n";
  std::abort();
}
