// Tables that fit a terminal: what is too wide goes on in a further table with the same first
// columns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cmat::report {

inline constexpr std::size_t kPageWidth = 100;

struct Column {
  std::string header;
  std::vector<std::string> cells;
  bool stays_with_previous = false;  ///< never put into another table than the column before
};

/// Whether its cells are numbers, which stand to the right; unknown ones and empty ones may be among
/// them.
bool is_numeric(const Column& column);

/// Columns as text of at most kPageWidth columns where that is possible: those that do not fit
/// beside the first `keys` ones follow in further tables, which repeat the key columns.
std::string format_columns(const std::vector<Column>& columns, std::size_t keys);

/// "  label        value" lines; empty values are left out, long ones are wrapped.
std::string format_facts(const std::vector<std::pair<std::string, std::string>>& facts);

/// A footnote: wrapped, its further lines indented.
std::string footnote(std::string_view value);

}  // namespace cmat::report
