#include "cmat/report/layout.h"

#include <algorithm>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

constexpr std::size_t gap = 2;

bool looks_numeric(std::string_view cell) {
  if (cell == kUnknown) return true;
  const std::size_t first = cell.find_first_not_of("+-[<> ");
  return first != std::string_view::npos && cell[first] >= '0' && cell[first] <= '9';
}

/// Numbers, known or not: a column of task names is text even if one of them is "7".
bool is_numeric_column(const std::vector<std::vector<std::string>>& rows, std::size_t column) {
  bool some = false;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (column >= rows[i].size() || rows[i][column].empty()) continue;
    if (!looks_numeric(rows[i][column])) return false;
    some = true;
  }
  return some;
}

std::vector<std::size_t> widths_of(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  return widths;
}

std::size_t width_of(const Column& column) {
  std::size_t width = columns(column.header);
  for (const std::string& cell : column.cells) width = std::max(width, columns(cell));
  return width + gap;
}

/// The chosen columns as one table, without rows that say nothing beside their key.
std::string format_chosen(const std::vector<Column>& all, const std::vector<std::size_t>& chosen,
                          std::size_t keys) {
  std::size_t height = 0;
  for (const std::size_t i : chosen) height = std::max(height, all[i].cells.size());
  std::vector<std::vector<std::string>> rows(1);
  for (const std::size_t i : chosen) rows[0].push_back(all[i].header);
  for (std::size_t r = 0; r < height; ++r) {
    std::vector<std::string> row;
    for (const std::size_t i : chosen)
      row.push_back(r < all[i].cells.size() ? all[i].cells[r] : "");
    const auto values = row.begin() + static_cast<std::ptrdiff_t>(keys);
    const bool says_nothing =
        std::all_of(values, row.end(), [](const auto& c) { return c.empty(); });
    if (!says_nothing || chosen.size() == keys) rows.push_back(std::move(row));
  }
  return format_table(rows);
}

}  // namespace

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  const std::vector<std::size_t> widths = widths_of(rows);
  std::vector<bool> right;
  for (std::size_t i = 0; i < widths.size(); ++i) right.push_back(is_numeric_column(rows, i));
  std::string result;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      const std::string cell = printable(rows[r][i]);
      const std::string padding(widths[i] - columns(cell), ' ');
      if (i > 0) line.append(gap, ' ');
      line += right[i] ? padding + cell : cell + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + '\n';
    if (r > 0) continue;
    std::string rule;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      rule.append(i > 0 ? gap : 0, ' ').append(widths[i], '-');
    }
    result += rule + '\n';
  }
  return result;
}

std::string format_columns(const std::vector<Column>& columns, std::size_t keys) {
  std::vector<std::size_t> key_columns;
  std::size_t key_width = 0;
  for (std::size_t i = 0; i < std::min(keys, columns.size()); ++i) {
    key_columns.push_back(i);
    key_width += width_of(columns[i]);
  }
  std::string result;
  std::vector<std::size_t> chosen = key_columns;
  std::size_t width = key_width;
  for (std::size_t begin = key_columns.size(); begin < columns.size();) {
    std::size_t end = begin + 1, group_width = width_of(columns[begin]);
    while (end < columns.size() && columns[end].stays_with_previous) {
      group_width += width_of(columns[end++]);
    }
    if (width + group_width > kPageWidth + gap && chosen.size() > key_columns.size()) {
      result += format_chosen(columns, chosen, key_columns.size()) + '\n';
      chosen = key_columns;
      width = key_width;
    }
    for (; begin < end; ++begin) chosen.push_back(begin);
    width += group_width;
  }
  return result + format_chosen(columns, chosen, key_columns.size());
}

std::string format_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::size_t width = 0;
  for (const auto& [label, value] : facts) {
    if (!value.empty()) width = std::max(width, columns(label));
  }
  std::string result;
  for (const auto& [label, value] : facts) {
    if (value.empty()) continue;
    const std::size_t indent = 2 + width + gap;
    std::string lines(2, ' ');
    lines.append(label).append(indent - 2 - columns(label), ' ');
    std::string body = wrapped(value, kPageWidth - indent);
    for (std::size_t at = 0; (at = body.find('\n', at)) != std::string::npos; at += indent + 1) {
      body.insert(at + 1, indent, ' ');
    }
    result += lines + body + '\n';
  }
  return result;
}

bool is_numeric(const Column& column) {
  std::vector<std::vector<std::string>> rows = {{column.header}};
  for (const std::string& cell : column.cells) rows.push_back({cell});
  return is_numeric_column(rows, 0);
}

std::string footnote(std::string_view value) { return wrapped(value, kPageWidth, 2) + '\n'; }

}  // namespace cmat::report
