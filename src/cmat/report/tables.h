// Tables for people: aligned plain text, numbers to the right, units stated.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/report/records.h"

namespace cmat::report {

/// One run: what it is, how it stands, accuracy of each task clean and under each attack with 95%
/// intervals, averages, forgetting, who owns and picks what, bytes.
std::string show_run(const Records& records);

/// Several runs, one a row: method, objective, network, tasks done, mean clean and robust accuracy
/// with standard error, forgetting (clean and robust), chance, bytes. Runs whose numbers must not
/// stand side by side (another protocol, source, stream, threat model or attack recipe) get tables
/// of their own.
std::string compare_runs(const std::vector<Records>& runs);

/// The accuracy matrices of one run.
std::string show_matrices(const Records& records);

/// Events as lines: time, what happened, and the rest as key=value.
std::string show_events(const std::vector<nlohmann::json>& events);

/// Rows of cells as aligned text; the first row is the header; numeric-looking columns to the
/// right.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace cmat::report
