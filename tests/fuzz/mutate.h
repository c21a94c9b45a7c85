// Makes an input that is almost good out of good ones.
#pragma once

#include <string>
#include <vector>

#include "cmat/core/random.h"
#include "fuzz/target.h"

namespace cmat::fuzz {

inline constexpr std::size_t kLargestInput = std::size_t{1} << 16;

/// One to eight small changes of `base`: flipped bits, other bytes, cut, doubled, moved and
/// repeated pieces, pieces of `other`, words of the format, length fields of all widths. At most
/// kLargestInput bytes.
std::string mutate(const Target& target, std::string base, const std::string& other,
                   Random& random);

}  // namespace cmat::fuzz
