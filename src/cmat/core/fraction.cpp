#include "cmat/core/fraction.h"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>

#include "cmat/core/config_text.h"
#include "cmat/core/error.h"

namespace cmat {
namespace {

/// A line break is no part of a number.
std::string_view without_blanks(std::string_view value) { return toml_text::trimmed(value, " \t"); }

std::optional<double> parse_decimal(std::string_view value) {
  value = without_blanks(value);
  // from_chars also takes "-1", "nan" and "inf", none of which is a size.
  if (value.empty() || (value[0] != '.' && (value[0] < '0' || value[0] > '9'))) return {};
  double result = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  if (error != std::errc() || end != value.data() + value.size()) return {};
  return result;
}

std::optional<double> parse_fraction(std::string_view value) {
  const std::size_t slash = value.find('/');
  if (slash == std::string_view::npos) return parse_decimal(value);
  const std::optional<double> above = parse_decimal(value.substr(0, slash));
  const std::optional<double> below = parse_decimal(value.substr(slash + 1));
  if (!above || !below || *below == 0) return {};
  const double quotient = *above / *below;
  return std::isfinite(quotient) ? std::optional(quotient) : std::nullopt;
}

std::string short_decimal(double value) {
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::general, 6);
  return error == std::errc() ? std::string(buffer.data(), end) : std::string("?");
}

}  // namespace

double parse_fraction(std::string_view value, std::string_view what) {
  const std::optional<double> result = parse_fraction(value);
  if (!result) {
    usage_error(what,
                " must be a number that is not negative or a fraction such as \"8/255\", but is ",
                toml_text::literal(value));
  }
  return *result;
}

double parse_eps_pixels(std::string_view value, std::string_view what, double limit) {
  const double eps = parse_fraction(value, what);
  if (eps <= limit) return eps;
  const bool whole_levels = value.find('/') == std::string_view::npos && eps / 255 <= limit;
  usage_error(
      what, " must be at most ", short_decimal(limit), " since pixels lie in [0, 1], but is \"",
      without_blanks(value), "\"",
      whole_levels ? text("; did you mean \"", without_blanks(value), "/255\"?") : std::string());
}

std::string format_eps(double eps_pixels) {
  return text(short_decimal(eps_pixels), " (", short_decimal(eps_pixels * 255), "/255)");
}

}  // namespace cmat
