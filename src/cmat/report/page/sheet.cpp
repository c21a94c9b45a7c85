#include "cmat/report/page/sheet.h"

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/report/embed.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

std::string cell_of(const Column& column, std::size_t row) {
  return row < column.cells.size() ? column.cells[row] : std::string();
}

/// "[79.0, 83.0]" in two, nothing of anything else.
bool split_interval(const std::string& cell, std::string& low, std::string& high) {
  const std::size_t comma = cell.find(", ");
  if (cell.size() < 5 || cell.front() != '[' || cell.back() != ']' || comma == std::string::npos)
    return false;
  low = cell.substr(1, comma - 1);
  high = cell.substr(comma + 2, cell.size() - comma - 3);
  return true;
}

bool holds_intervals(const Column& column) {
  bool some = false;
  for (const std::string& cell : column.cells) {
    std::string low, high;
    if (cell.empty() || cell == kUnknown) continue;
    if (!split_interval(cell, low, high)) return false;
    some = true;
  }
  return some;
}

/// A number as a program reads it: without commas between its digits, nothing where it is unknown.
std::string csv_cell(std::string value) {
  if (value == kUnknown) return "";
  value = printable(value);
  const bool number =
      !value.empty() && value.find_first_not_of("0123456789,.-+") == std::string::npos;
  if (number) value.erase(std::remove(value.begin(), value.end(), ','), value.end());
  if (value.find_first_of(",\"") == std::string::npos) return value;
  std::string result = "\"";
  for (const char c : value) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + '"';
}

std::string latex_escaped(std::string_view value) {
  std::string result;
  for (const std::string& c : characters(value)) {
    if (c == "\\") {
      result += "\\textbackslash{}";
    } else if (c == "~" || c == "^") {
      result += "\\" + c + "{}";
    } else if (c.size() == 1 && std::string_view("&%$#_{}").find(c) != std::string_view::npos) {
      result += "\\" + c;
    } else if (c == "±") {
      result += "$\\pm$";
    } else if (c == "−") {
      result += "$-$";
    } else if (c == "×") {
      result += "$\\times$";
    } else {
      result += c;
    }
  }
  return result;
}

std::string markdown_escaped(std::string_view value) {
  std::string result;
  for (const std::string& c : characters(value)) {
    if (c == "|" || c == "\\" || c == "*" || c == "_" || c == "`" || c == "<") result += '\\';
    result += c;
  }
  return result;
}

}  // namespace

void Sheet::add_row(std::vector<std::string> cells) {
  for (std::size_t i = 0; i < columns.size(); ++i)
    columns[i].cells.push_back(std::move(cells.at(i)));
}

std::string slug(std::string_view value) {
  std::string result;
  for (const char c : value) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (c >= 'A' && c <= 'Z') {
      result += static_cast<char>(c - 'A' + 'a');
    } else if (fits) {
      result += c;
    } else if (!result.empty() && result.back() != '-') {
      result += '-';
    }
  }
  while (!result.empty() && result.back() == '-') result.pop_back();
  return result.empty() ? "unnamed" : result.substr(0, 60);
}

std::string html_table(const Sheet& sheet) {
  std::vector<bool> right;
  for (const Column& column : sheet.columns) right.push_back(is_numeric(column));
  std::string result = "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>";
  for (std::size_t i = 0; i < sheet.columns.size(); ++i) {
    result += text("<th scope=\"col\"", right[i] ? " class=\"n\"" : "", ">",
                   xml_escaped(sheet.columns[i].header), "</th>");
  }
  result += "</tr></thead>\n<tbody>\n";
  for (std::size_t r = 0; r < sheet.rows(); ++r) {
    result += "<tr>";
    for (std::size_t i = 0; i < sheet.columns.size(); ++i) {
      const std::string_view tag = i == 0 ? "th" : "td";
      result += text("<", tag, i == 0 ? " scope=\"row\"" : "", right[i] ? " class=\"n\"" : "", ">",
                     xml_escaped(cell_of(sheet.columns[i], r)), "</", tag, ">");
    }
    result += "</tr>\n";
  }
  return result + "</tbody></table></div>\n";
}

std::string csv_table(const Sheet& sheet) {
  std::string result;
  const auto write_row = [&](auto cell_at) {
    bool first = true;
    for (const Column& column : sheet.columns) {
      for (const std::string& cell : cell_at(column)) {
        result += (first ? "" : ",") + csv_cell(cell);
        first = false;
      }
    }
    result += "\r\n";
  };
  using Cells = std::vector<std::string>;
  write_row([](const Column& column) {
    if (!holds_intervals(column)) return Cells{column.header};
    return Cells{column.header + " low", column.header + " high"};
  });
  for (std::size_t r = 0; r < sheet.rows(); ++r) {
    write_row([&](const Column& column) {
      if (!holds_intervals(column)) return Cells{cell_of(column, r)};
      std::string low, high;
      split_interval(cell_of(column, r), low, high);
      return Cells{low, high};
    });
  }
  return result;
}

std::string markdown_table(const Sheet& sheet) {
  std::string result = text("**", markdown_escaped(sheet.title), "**\n\n|"), rule = "|";
  for (const Column& column : sheet.columns) {
    result += text(' ', markdown_escaped(column.header), " |");
    rule += is_numeric(column) ? "--:|" : "---|";
  }
  result += '\n' + rule + '\n';
  for (std::size_t r = 0; r < sheet.rows(); ++r) {
    result += '|';
    for (const Column& column : sheet.columns)
      result += text(' ', markdown_escaped(cell_of(column, r)), " |");
    result += '\n';
  }
  for (const std::string& note : sheet.notes) result += text('\n', markdown_escaped(note), '\n');
  return result;
}

std::string latex_table(const Sheet& sheet) {
  std::string result = "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n";
  result += text("\\caption{", latex_escaped(sheet.title), "}\n\\label{tab:", sheet.name,
                 "}\n\\begin{tabular}{");
  for (const Column& column : sheet.columns) result += is_numeric(column) ? 'r' : 'l';
  result += "}\n\\toprule\n";
  const auto write_row = [&](auto cell_at) {
    for (std::size_t i = 0; i < sheet.columns.size(); ++i)
      result += text(i > 0 ? " & " : "", latex_escaped(cell_at(sheet.columns[i])));
    result += " \\\\\n";
  };
  write_row([](const Column& column) { return column.header; });
  result += "\\midrule\n";
  for (std::size_t r = 0; r < sheet.rows(); ++r)
    write_row([&](const Column& column) { return cell_of(column, r); });
  result += "\\bottomrule\n\\end{tabular}\n";
  for (const std::string& note : sheet.notes)
    result += text("\n\\footnotesize ", latex_escaped(note), '\n');
  return result + "\\end{table}\n";
}

}  // namespace cmat::report
