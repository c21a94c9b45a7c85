#include "cmat/core/config_nodes.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "cmat/core/config_text.h"
#include "cmat/core/error.h"

namespace cmat::toml_nodes {

using toml_text::literal;

namespace {

/// The first line with a key of more tables than anybody needs and the stack can bear, or 0. A key
/// stands on one line, so dots are counted; those of a comment do not matter.
std::size_t line_of_deep_key(std::string_view toml) {
  constexpr std::ptrdiff_t most = 1000;
  std::size_t number = 1;
  while (!toml.empty()) {
    const std::string_view line = toml.substr(0, toml.find('\n'));
    if (std::count(line.begin(), line.end(), '.') > most && !line.starts_with('#')) return number;
    toml.remove_prefix(std::min(toml.size(), line.size() + 1));
    ++number;
  }
  return 0;
}

}  // namespace

toml::table parse_toml(std::string_view toml, std::string_view origin) {
  if (const std::size_t line = line_of_deep_key(toml)) {
    usage_error(origin, ", line ", line,
                " has more than a thousand dots: shorten its key or value");
  }
  try {
    return toml::parse(toml, origin);
  } catch (const toml::parse_error& error) {
    const toml::source_position place = error.source().begin;
    std::string description(error.description());  // may quote what a terminal must not see
    std::replace_if(
        description.begin(), description.end(),
        [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    usage_error(origin, ", line ", place.line, ", column ", place.column, ": ", description);
  }
}

toml::table parse_value(const std::string& value) {
  if (line_of_deep_key(value)) return toml::table{{"value", value}};
  try {
    toml::table parsed = toml::parse("value = " + value);
    // A value with a line break may smuggle in further keys.
    if (parsed.size() == 1 && parsed.contains("value")) return parsed;
  } catch (const toml::parse_error&) {
  }
  return toml::table{{"value", value}};
}

std::vector<std::string> split_key(std::string_view key) {
  std::vector<std::string> parts(1);
  for (const char c : key) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_table_list(const toml::node& node) {
  const toml::array* list = node.as_array();
  return list && list->is_homogeneous(toml::node_type::table) && !list->empty();
}

const toml::node* child(const toml::node& node, std::string_view part) {
  if (const toml::table* table = node.as_table()) return table->get(part);
  if (!is_table_list(node)) return nullptr;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
  const bool is_number = error == std::errc() && end == part.data() + part.size();
  return is_number && number >= 1 ? node.as_array()->get(number - 1) : nullptr;
}

toml::node* child(toml::node& node, std::string_view part) {
  return const_cast<toml::node*>(child(std::as_const(node), part));
}

std::string describe(const toml::node& node) {
  if (const auto value = node.value_exact<std::string>()) {
    constexpr std::size_t longest = 60;
    return "the string " +
           literal(value->size() > longest ? value->substr(0, longest) + "..." : *value);
  }
  if (const auto value = node.value_exact<std::int64_t>()) return "the integer " + literal(*value);
  if (const auto value = node.value_exact<double>()) return "the number " + literal(*value);
  if (const auto value = node.value_exact<bool>()) return "the boolean " + literal(*value);
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  return "a date or time";
}

std::optional<std::int64_t> as_integer(const toml::node& node) {
  return node.value_exact<std::int64_t>();
}

std::optional<double> as_number(const toml::node& node) {
  if (const auto value = as_integer(node)) return static_cast<double>(*value);
  const auto value = node.value_exact<double>();
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<std::string> as_string(const toml::node& node) {
  return node.value_exact<std::string>();
}

std::optional<std::vector<std::int64_t>> as_integers(const toml::node& node) {
  const toml::array* list = node.as_array();
  if (!list) return {};
  std::vector<std::int64_t> values;
  for (const toml::node& entry : *list) {
    const auto value = as_integer(entry);
    if (!value) return {};
    values.push_back(*value);
  }
  return values;
}

std::optional<NameOrNumber> as_name_or_number(const toml::node& node) {
  if (const auto value = as_integer(node)) return NameOrNumber(*value);
  if (const auto value = as_string(node)) return NameOrNumber(*value);
  return {};
}

}  // namespace cmat::toml_nodes
