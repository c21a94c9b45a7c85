// Perturbation sizes as people write them: "8/255", "0.1", ".5".
#pragma once

#include <string>
#include <string_view>

namespace cmat {

/// Value of a decimal number or of a fraction of two decimal numbers, spaces around the number or
/// the slash allowed. Throws a usage Error that names `what` when the text is neither, is not
/// finite or is negative. The value itself is not limited: see parse_eps_pixels.
double parse_fraction(std::string_view value, std::string_view what);

/// parse_fraction for a radius in pixel units ([0,1] images). `limit` is the largest that makes
/// sense for the norm (1 for Linf). Larger values are a usage Error that asks whether "8/255" was
/// meant.
double parse_eps_pixels(std::string_view value, std::string_view what, double limit = 1.0);

/// Both units: "0.0313725 (8/255)".
std::string format_eps(double eps_pixels);

}  // namespace cmat
