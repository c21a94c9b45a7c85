#include "cmat/report/report.h"

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

namespace fs = std::filesystem;

/// Nothing that somebody keeps there is written over; an earlier report is.
void check_target(const fs::path& out) {
  std::error_code ignored;
  if (!fs::exists(out, ignored) || fs::is_empty(out, ignored)) return;
  if (!fs::is_directory(out, ignored))
    usage_error(out.string(), " is not a folder: name another one");
  const fs::path index = out / "index.html";
  const bool ours = fs::is_regular_file(index, ignored) &&
                    read_file(index).find("content=\"cmat report ") != std::string::npos;
  if (!ours) usage_error(out.string(), " holds files that are not a report: name a new folder");
}

std::string title_of(const ReportInputs& inputs) {
  if (!inputs.comparisons.empty()) {
    const Field first(inputs.comparisons.front(), "comparison.json");
    return "Comparison " + first["name"].string_or("of runs");
  }
  std::string names;
  for (const ReportedRun& run : inputs.runs) names += (names.empty() ? "" : ", ") + run.label;
  return text(inputs.runs.size() == 1 ? "Run " : "Runs ", clipped(names, 90));
}

}  // namespace

Document::Written write_report(const std::vector<fs::path>& folders, const fs::path& out) {
  const ReportInputs inputs = read_inputs(folders);
  check_target(out);
  Document page(title_of(inputs));
  for (const auto add : {add_setting, add_headline, add_difficulty, add_comparisons, add_curves,
                         add_matrices, add_positions, add_forgetting, add_training, add_ownership,
                         add_bytes, add_scores, add_pictures, add_checks}) {
    add(inputs, page);
  }
  std::string command = "cmat report";
  for (const fs::path& folder : folders) command += ' ' + printable(folder.string());
  page.section("This report");
  page.command("Made by", text(command, " -o ", printable(out.string())));
  page.muted(
      "Every table lies in tables/ as CSV, Markdown and LaTeX, every figure in figures/ as SVG "
      "with "
      "its data and its gnuplot script, and as PDF where gnuplot was installed.");
  return page.write(out);
}

}  // namespace cmat::report
