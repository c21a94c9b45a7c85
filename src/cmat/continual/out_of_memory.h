// Memory that runs out ends in a sentence that says what to do.
#pragma once

namespace cmat::continual {

/// Called while an exception is handled: throws it again; as a failure if it says that memory, of
/// the machine or of the device, ran out.
[[noreturn]] void rethrow_explained();

}  // namespace cmat::continual
