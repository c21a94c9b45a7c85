// Shares as messages show them.
#pragma once

#include <cmath>
#include <string>

#include "cmat/core/error.h"

namespace cmat::continual {

/// "3.1%"
inline std::string percent(double share) { return text(std::round(share * 1000) / 10, "%"); }

}  // namespace cmat::continual
