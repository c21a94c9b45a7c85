// Values of a config as text: as TOML for the resolved config, and as words for messages.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cmat/core/config.h"

namespace cmat::toml_text {

/// The shortest decimal that reads back as the same value.
std::string shortest(double value);

std::string literal(bool value);
std::string literal(std::int64_t value);
std::string literal(double value);
std::string literal(std::string_view value);
std::string literal(const char*) = delete;  // would silently become a bool

/// A template, so that a string is not taken for one.
template <std::same_as<NameOrNumber> T>
std::string literal(const T& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return literal(*number);
  return literal(std::string_view(std::get<std::string>(value)));
}

template <typename T>
std::string literal(const std::vector<T>& values) {
  std::string list = "[";
  for (const T& value : values) list += (list.size() > 1 ? ", " : "") + literal(value);
  return list + "]";
}

/// Without the white space at both ends, which is any of `spaces`.
std::string_view trimmed(std::string_view value, std::string_view spaces = " \t\r\n");

/// Only letters, digits, "_" and "-": what a key may hold without quotes.
bool is_bare_key(std::string_view key);

/// One part of a dotted key, in quotes if it needs them.
std::string key_part(std::string_view key);

/// `"a", "b" or "c"`.
std::string alternatives(const std::vector<std::string>& values);

}  // namespace cmat::toml_text
