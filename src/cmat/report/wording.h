// Text from records made fit to print, and numbers the way the reports write them. UTF-8
// throughout; a character counts as one column.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cmat::report {

/// What stands where a number is not known.
inline constexpr std::string_view kUnknown = "-";

/// The characters of `value`, one string each. Control characters and malformed UTF-8 become
/// U+FFFD, so that a name from a file can neither steer the terminal nor break the XML.
std::vector<std::string> characters(std::string_view value);
std::string printable(std::string_view value);
std::size_t columns(std::string_view value);
/// At most `width` columns; what is cut off becomes an ellipsis.
std::string clipped(std::string_view value, std::size_t width);
/// Lines of at most `width` columns, broken at spaces (a longer word keeps its own line). Lines
/// after the first start with `indent` spaces.
std::string wrapped(std::string_view value, std::size_t width, std::size_t indent = 0);

/// With `digits` behind the point, whatever the locale is; never "-0.0".
std::string fixed(double value, int digits);
/// 0.8123 as "81.2"; kUnknown when there is none.
std::string percent(std::optional<double> share);
/// "[79.0, 83.0]" or kUnknown.
std::string percent_interval(std::optional<double> low, std::optional<double> high);
/// "81.2 ± 0.6", without the second part when it is not known.
std::string percent_with_error(std::optional<double> share, std::optional<double> error);
/// A difference of two shares in points: "0.0" only for exactly nothing, a small one keeps
/// its first digit.
std::string points(std::optional<double> difference, bool show_plus);
/// "8/255" of "0.0313725 (8/255)", as an option takes it; what has no parentheses as it is.
std::string short_radius(const std::string& eps);
/// 1234567 as "1,234,567".
std::string with_commas(std::int64_t value);

}  // namespace cmat::report
