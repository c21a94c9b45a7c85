#include "cmat/core/wilson.h"

#include <algorithm>
#include <cmath>

namespace cmat {

WilsonInterval wilson_interval(double share, double n) {
  constexpr double z = 1.959963984540054;
  const double scale = 1 / (1 + z * z / n);
  const double centre = scale * (share + z * z / (2 * n));
  const double half = scale * z * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  // Rounding must not push a bound past the share.
  return {std::clamp(centre - half, 0.0, share), std::clamp(centre + half, share, 1.0)};
}

}  // namespace cmat
