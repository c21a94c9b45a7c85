// For tests only: lets a chosen system call of core/files fail, as a full disk or a dying one
// would.
//
//   CMAT_INJECT_FAULT=fsync:3:EIO    the third fsync of the process fails with EIO
//   CMAT_INJECT_FAULT=write:5+:ENOSPC    the fifth write and all after it
//   CMAT_INJECT_FAULT=rename:2:KILL    the process is killed just before its second rename
//
// Calls: open (of a file to be written), write, fsync, rename, link, truncate. The variable is read
// once; where it is not set, a call costs one comparison.
#pragma once

#include <cstddef>
#include <string_view>

namespace cmat {

enum class FaultyCall : std::size_t { open, write, fsync, rename, link, truncate };

/// Counts this call; true when it must fail, with errno set. Throws a usage Error when the variable
/// cannot be read as above.
bool injected_fault(FaultyCall call);

}  // namespace cmat
