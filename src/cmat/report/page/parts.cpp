#include "cmat/report/page/parts.h"

#include "cmat/core/error.h"
#include "cmat/report/wording.h"

namespace cmat::report {

std::string train_command(const ReportedRun& run) {
  return text("cmat train ", printable(run.records.folder.string()), " --out NEW");
}

std::string of_run(const ReportInputs& inputs, const ReportedRun& run) {
  return inputs.runs.size() == 1 ? std::string() : ", " + run.label;
}

std::string file_stem(const ReportInputs& inputs, const std::string& what, const ReportedRun& run) {
  return inputs.runs.size() == 1 ? what : text(what, '-', slug(run.label));
}

std::vector<std::string> numbers_to(std::size_t last) {
  std::vector<std::string> result;
  for (std::size_t i = 1; i <= last; ++i) result.push_back(text(i));
  return result;
}

Sheet matrix_sheet(const HeatMap& map, const std::string& name, const std::string& title) {
  Sheet sheet{name, title, {{map.row_label, map.rows}}, {}};
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    Column column{text(map.column_label, ' ', map.columns[c]), {}};
    for (const auto& row : map.values) {
      const bool there = c < row.size() && row[c];
      column.cells.push_back(there ? fixed(*row[c], 1) : "");
    }
    sheet.columns.push_back(std::move(column));
  }
  return sheet;
}

}  // namespace cmat::report
