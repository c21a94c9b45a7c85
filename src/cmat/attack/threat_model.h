// What an adversary may do: move an image by at most eps in a norm, inside the box [0,1].
#pragma once

#include <string>

#include "cmat/core/config.h"

namespace cmat::attack {

enum class Norm { linf, l2, l1 };

std::string norm_name(Norm norm);  ///< "linf", "l2", "l1"
Norm parse_norm(const std::string& name, const std::string& what);

struct ThreatModel {
  Norm norm = Norm::linf;
  double eps_pixels = 8.0 / 255;  ///< radius, in units of pixels in [0,1]
};

/// The largest radius that makes sense: 1 for Linf; for L2 64 and for L1 64^2, more than a whole
/// 32x32 colour image.
double largest_eps_pixels(Norm norm);

/// Reads threat.norm (default "linf") and threat.eps (default "8/255", for L2 "0.5", for L1 "12").
ThreatModel read_threat_model(Config& config);

}  // namespace cmat::attack
