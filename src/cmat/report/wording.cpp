#include "cmat/report/wording.h"

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

#include "cmat/core/error.h"

namespace cmat::report {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view ellipsis = "\xE2\x80\xA6";     // U+2026

/// Length in bytes of the well-formed, printable character that `rest` starts with, or 0.
std::size_t length_of_character(std::string_view rest) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(rest[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || rest.size() < length) return 0;
  char32_t code = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> smallest = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  const bool control = code < 0xA0;  // C1, which some terminals obey
  const bool direction = (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  const bool nothing = code > 0x10FFFF || (code & 0xFFFE) == 0xFFFE;  // not allowed in XML
  return code < smallest[length] || surrogate || control || direction || nothing ? 0 : length;
}

}  // namespace

std::vector<std::string> characters(std::string_view value) {
  std::vector<std::string> result;
  while (!value.empty()) {
    const std::size_t length = length_of_character(value);
    result.emplace_back(length == 0 ? replacement : value.substr(0, length));
    value.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

std::string printable(std::string_view value) {
  std::string result;
  for (const std::string& character : characters(value)) result += character;
  return result;
}

std::size_t columns(std::string_view value) { return characters(value).size(); }

std::string clipped(std::string_view value, std::size_t width) {
  const std::vector<std::string> all = characters(value);
  if (all.size() <= width) return printable(value);
  std::string result;
  for (std::size_t i = 0; i + 1 < width; ++i) result += all[i];
  return width == 0 ? result : result.append(ellipsis);
}

std::string wrapped(std::string_view value, std::size_t width, std::size_t indent) {
  std::string result;
  std::size_t used = 0;
  bool first_of_line = true;
  while (!value.empty()) {
    const std::size_t space = value.find(' ');
    const std::string_view word = value.substr(0, space);
    value.remove_prefix(space == std::string_view::npos ? value.size() : space + 1);
    if (word.empty()) continue;
    const std::size_t length = columns(word);
    if (!first_of_line && used + 1 + length > width) {
      result.append("\n").append(indent, ' ');
      used = indent;
      first_of_line = true;
    }
    if (!first_of_line) result += ' ';
    used += length + (first_of_line ? 0 : 1);
    result += word;
    first_of_line = false;
  }
  return result;
}

std::string fixed(double value, int digits) {
  std::array<char, 400> buffer;  // the largest double has 309 digits before the point
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::fixed, digits);
  std::string result = error == std::errc() ? std::string(buffer.data(), end) : std::string("?");
  if (result[0] == '-' && result.find_first_not_of("-0.") == std::string::npos) result.erase(0, 1);
  return result;
}

std::string percent(std::optional<double> share) {
  return share ? fixed(100 * *share, 1) : std::string(kUnknown);
}

std::string percent_interval(std::optional<double> low, std::optional<double> high) {
  if (!low || !high) return std::string(kUnknown);
  return text("[", percent(low), ", ", percent(high), "]");
}

std::string percent_with_error(std::optional<double> share, std::optional<double> error) {
  return share && error ? text(percent(share), " ± ", percent(error)) : percent(share);
}

std::string points(std::optional<double> difference, bool show_plus) {
  if (!difference) return std::string(kUnknown);
  const double value = 100 * *difference;
  // Means of equal numbers can differ by rounding; no test set is large enough for 1e-9 points.
  if (std::abs(value) < 1e-9) return "0.0";
  int digits = 1;
  while (digits < 9 && std::abs(value) < 0.5 * std::pow(10.0, -digits)) ++digits;
  return (show_plus && value > 0 ? "+" : "") + fixed(value, digits);
}

std::string short_radius(const std::string& eps) {
  const std::size_t open = eps.find('('), close = eps.find(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return eps;
  return eps.substr(open + 1, close - open - 1);
}

std::string with_commas(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

}  // namespace cmat::report
