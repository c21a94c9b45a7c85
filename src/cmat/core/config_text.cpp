#include "cmat/core/config_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "cmat/core/config.h"

namespace cmat {
namespace toml_text {
namespace {

bool is_ascii_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string shortest(double value) {
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return error == std::errc() ? std::string(buffer.data(), end) : std::string("?");
}

std::string_view trimmed(std::string_view value, std::string_view spaces) {
  const std::size_t first = value.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return value.substr(first, value.find_last_not_of(spaces) - first + 1);
}

std::string literal(bool value) { return value ? "true" : "false"; }

std::string literal(std::int64_t value) { return std::to_string(value); }

std::string literal(double value) {
  std::string digits = shortest(value);
  // Without a point or an exponent TOML would read an integer.
  if (digits.find_first_not_of("-0123456789") == std::string::npos) digits += ".0";
  return digits;
}

std::string literal(std::string_view value) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string quoted = "\"";
  for (const char c : value) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (code < 0x20 || code == 0x7F) {
      quoted += {'\\', 'u', '0', '0', hex[code >> 4], hex[code & 15]};
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

bool is_bare_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return is_ascii_letter_or_digit(c) || c == '_' || c == '-';
  });
}

std::string key_part(std::string_view key) {
  return is_bare_key(key) ? std::string(key) : literal(key);
}

std::string alternatives(const std::vector<std::string>& values) {
  std::string list;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) list += i + 1 == values.size() ? " or " : ", ";
    list += literal(values[i]);
  }
  return list;
}

}  // namespace toml_text

namespace {

std::string lower_case(std::string_view word) {
  std::string result(word);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t longest = 200;  // nobody mistypes that; keeps the cost small
  std::string best;
  if (word.size() > longest) return best;
  std::size_t best_distance = SIZE_MAX;
  for (const std::string& candidate : candidates) {
    const std::size_t length = std::max(word.size(), candidate.size());
    const std::size_t allowed =
        std::min(std::max<std::size_t>(1, length / 3), length - (length > 0));
    const std::size_t distance = edit_distance(lower_case(word), lower_case(candidate));
    if (distance <= allowed && distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace cmat
