// Which code an input reached. The parsers of a sanitized build call __sanitizer_cov_trace_pc at
// each of their branches (-fsanitize-coverage=trace-pc); elsewhere nothing is ever new.
#pragma once

namespace cmat::fuzz {

/// Forgets the present input's path.
void begin_coverage();
/// The path had a branch, or a number of passes through one (as a power of two), that no input
/// before had.
bool found_new_coverage();

}  // namespace cmat::fuzz
