// `cmat report`: runs and comparisons as one HTML page, with every table and figure as files.
#pragma once

#include <filesystem>
#include <vector>

#include "cmat/report/page/document.h"

namespace cmat::report {

/// Reads run folders and comparisons (docs/run-format.md) and writes index.html, figures/ and
/// tables/ into `out`. Throws a usage Error where `out` holds something that is not a report, where
/// an input is no run, and where two protocols would come into one table.
Document::Written write_report(const std::vector<std::filesystem::path>& folders,
                               const std::filesystem::path& out);

}  // namespace cmat::report
