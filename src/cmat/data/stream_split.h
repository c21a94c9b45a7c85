// How the classes of one source become tasks; their images come later.
#pragma once

#include <cstdint>
#include <vector>

#include "cmat/data/stream.h"

namespace cmat::data {

std::int64_t class_count(const Source& source);

/// A task of these classes, named after them.
Task make_task(const Source& source, const std::vector<std::int64_t>& classes);

/// The tasks of stream.split, with stream.names, stream.only and stream.order applied.
std::vector<Task> cut_into_tasks(const Source& source, const StreamOptions& options);

}  // namespace cmat::data
