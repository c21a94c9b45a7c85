// What several sections of a report share: names of runs, of their files and commands, and the
// table of a heat map.
#pragma once

#include <string>
#include <vector>

#include "cmat/report/page/figure.h"
#include "cmat/report/page/inputs.h"
#include "cmat/report/page/sheet.h"

namespace cmat::report {

/// "cmat train RUN --out NEW": makes a run's numbers again.
std::string train_command(const ReportedRun& run);
/// ", RUN" where a page holds several runs, nothing where it holds one.
std::string of_run(const ReportInputs& inputs, const ReportedRun& run);
/// `what`, with the run's name behind it where a page holds several.
std::string file_stem(const ReportInputs& inputs, const std::string& what, const ReportedRun& run);

/// "1" to `last`.
std::vector<std::string> numbers_to(std::size_t last);
/// A heat map's values with one digit behind the point.
Sheet matrix_sheet(const HeatMap& map, const std::string& name, const std::string& title);

}  // namespace cmat::report
