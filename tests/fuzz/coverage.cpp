#include "fuzz/coverage.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace {

constexpr std::size_t size = std::size_t{1} << 16;

std::array<std::uint8_t, size> passes;    // of this input
std::array<std::uint8_t, size> seen;      // bit b: 2^b passes, of any input
std::array<std::uint16_t, size> touched;  // places of `passes` that are not 0
std::size_t touched_count = 0;
std::uintptr_t previous = 0;

extern "C" char __executable_start;  // so that the addresses do not depend on where it is loaded

}  // namespace

extern "C" __attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc() {
  const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)) -
                     reinterpret_cast<std::uintptr_t>(&__executable_start);
  // An edge rather than a place.
  const std::uintptr_t mixed = (place ^ (previous << 1)) * 0x9e3779b97f4a7c15ULL;
  previous = place;
  const std::size_t slot = mixed >> 48;
  if (passes[slot] == 0) touched[touched_count++] = static_cast<std::uint16_t>(slot);
  if (passes[slot] < 255) ++passes[slot];
}

namespace cmat::fuzz {

void begin_coverage() {
  for (std::size_t i = 0; i < touched_count; ++i) passes[touched[i]] = 0;
  touched_count = 0;
  previous = 0;
}

bool found_new_coverage() {
  bool found = false;
  for (std::size_t i = 0; i < touched_count; ++i) {
    const std::uint8_t count = passes[touched[i]];
    const auto bit = static_cast<std::uint8_t>(1 << (std::bit_width(count) - 1));
    if (seen[touched[i]] & bit) continue;
    seen[touched[i]] |= bit;
    found = true;
  }
  return found;
}

}  // namespace cmat::fuzz
