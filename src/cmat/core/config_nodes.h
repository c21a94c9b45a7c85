// Looking into a parsed TOML file. Only config.cpp needs it.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmat/core/config.h"

namespace cmat::toml_nodes {

/// Throws a usage Error with origin, line and column.
toml::table parse_toml(std::string_view toml, std::string_view origin);
/// The value of --set, under the key "value": TOML if it is that, or else a string.
toml::table parse_value(const std::string& value);

/// "a.b" -> {"a", "b"}
std::vector<std::string> split_key(std::string_view key);

/// A list of tables: so many [[key]] in the file.
bool is_table_list(const toml::node& node);
/// What `part` of a dotted key leads to: a value of a table, or a table of a list (from 1). Null if
/// there is none.
const toml::node* child(const toml::node& node, std::string_view part);
toml::node* child(toml::node& node, std::string_view part);

/// What a value is, in words: `the string "ten"`.
std::string describe(const toml::node& node);

std::optional<std::int64_t> as_integer(const toml::node& node);
std::optional<double> as_number(const toml::node& node);  ///< finite
std::optional<std::string> as_string(const toml::node& node);
std::optional<std::vector<std::int64_t>> as_integers(const toml::node& node);
std::optional<NameOrNumber> as_name_or_number(const toml::node& node);

}  // namespace cmat::toml_nodes
