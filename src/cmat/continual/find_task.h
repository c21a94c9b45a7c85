// A task as people name it on the command line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cmat::continual {

/// The position, from 1, of the task that `asked` means: its number, else its name. Throws a usage
/// Error that lists the names.
std::int64_t find_task(const std::vector<std::string>& names, const std::string& asked);

}  // namespace cmat::continual
