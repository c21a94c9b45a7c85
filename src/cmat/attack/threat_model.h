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
  /// The original program's threat model (as_published.h): the radius is one of normalised images,
  /// and neither ball nor box holds. Only PGD as a config describes it (make_config_pgd) knows it.
  bool as_published = false;
};

/// "linf", "l2", "l1" or "as-published": what records call it.
std::string threat_name(const ThreatModel& threat);
/// "0.0313725 (8/255)"; as published "0.00784314 (2/255) normalised".
std::string threat_eps(const ThreatModel& threat);

/// The largest radius that makes sense: 1 for Linf; for L2 64 and for L1 64^2, more than a whole
/// 32x32 colour image.
double largest_eps_pixels(Norm norm);

/// Reads threat.model ("pixels", the default, or "as-published"), threat.norm (default "linf") and
/// threat.eps (default "8/255", for L2 "0.5", for L1 "12"; as published "2/255" in linf and nothing
/// else).
ThreatModel read_threat_model(Config& config);

}  // namespace cmat::attack
