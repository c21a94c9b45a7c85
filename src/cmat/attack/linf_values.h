// What the loops over single values of Linf attacks share. Without branches, so that the compiler
// uses vectors, and always inlined, so that they are those of the loop's instruction set.
#pragma once

#include <algorithm>

namespace cmat::attack {

/// The interval that ball and [0,1] leave to a value of an image. Computed again for each step,
/// which is cheaper than to read it.
template <typename T>
struct LinfInterval {
  T low, high;

  inline __attribute__((always_inline)) LinfInterval(T image, T eps)
      : low(std::max(image - eps, T(0))), high(std::min(image + eps, T(1))) {}
  inline __attribute__((always_inline)) T nearest(T value) const {
    return std::min(std::max(value, low), high);
  }
};

/// 1, -1 or 0.
template <typename T>
inline __attribute__((always_inline)) T sign_of(T value) {
  return static_cast<T>(value > 0) - static_cast<T>(value < 0);
}

}  // namespace cmat::attack
