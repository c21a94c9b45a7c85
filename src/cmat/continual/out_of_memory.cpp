#include "cmat/continual/out_of_memory.h"

#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "cmat/core/error.h"

namespace cmat::continual {
namespace {

[[noreturn]] void explain() {
  failure(
      "out of memory: free some of it, or begin a run with a smaller optimizer.batch, "
      "evaluation.batch or network.width; a run that stopped goes on from its last checkpoint with "
      "--resume");
}

/// libtorch has a type for a GPU's memory only; the machine's is told by the words.
bool speaks_of_memory(std::string_view what) {
  for (const char* words : {"can't allocate memory", "not enough memory", "out of memory"}) {
    if (what.find(words) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

void rethrow_explained() {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    explain();
  } catch (const c10::OutOfMemoryError&) {
    explain();
  } catch (const std::exception& e) {
    if (speaks_of_memory(e.what())) explain();
    throw;
  }
}

}  // namespace cmat::continual
