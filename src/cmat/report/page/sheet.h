// A table as a page shows it, and as the files that go into a paper or a spreadsheet.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cmat/report/layout.h"

namespace cmat::report {

/// Cells are written as people read them. A cell like "[79.0, 83.0]" is an interval: in a
/// spreadsheet its column becomes two.
struct Sheet {
  std::string name;   ///< of its files: letters, digits and "-"
  std::string title;  ///< units included where the headers do not say them
  std::vector<Column> columns;
  std::vector<std::string> notes;
  std::size_t rows() const { return columns.empty() ? 0 : columns.front().cells.size(); }
  /// REQUIRES: one cell for each column.
  void add_row(std::vector<std::string> cells);
};

/// A <table> whose numbers stand to the right.
std::string html_table(const Sheet& sheet);
/// RFC 4180: commas, quotes where they are needed; "," in numbers taken out, unknown cells empty.
std::string csv_table(const Sheet& sheet);
std::string markdown_table(const Sheet& sheet);
/// A tabular of the package booktabs.
std::string latex_table(const Sheet& sheet);

/// Letters, digits and "-", fit for a file's name and an address.
std::string slug(std::string_view value);

}  // namespace cmat::report
