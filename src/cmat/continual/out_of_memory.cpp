#include "cmat/continual/out_of_memory.h"

#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "cmat/core/error.h"

namespace cmat::continual {
namespace {

[[noreturn]] void explain(std::string_view what = "out of memory") {
  failure(
      what,
      ": free some of it, or begin a run with a smaller optimizer.batch, "
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

/// What oneDNN says where it has chosen an implementation, and cannot have the memory for its code
/// or its work. (A shape that it does not know is "could not create a primitive descriptor".)
bool is_of_chosen_primitive(std::string_view what) {
  return what == "could not create a primitive" || what == "could not execute a primitive" ||
         what == "could not create a memory object";
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
    if (is_of_chosen_primitive(e.what())) {
      explain(text("probably out of memory (oneDNN ", e.what(), ")"));
    }
    throw;
  }
}

}  // namespace cmat::continual
