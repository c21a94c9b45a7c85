// Adversarial images and checks of the saved evaluations.
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/report/page/parts.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {

void add_pictures(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    for (const std::filesystem::path& file : run.pictures) {
      if (!started) page.section("Adversarial images");
      started = true;
      const std::string stem = file.stem().string();
      std::string command;
      for (const SavedEvaluation& saved : run.evaluations) {
        if (saved.file == stem + ".json") command = saved.command + " --grid";
      }
      page.picture(file_stem(inputs, "images-" + slug(stem), run),
                   text("Clean images, adversarial images and their difference",
                        of_run(inputs, run), " (", printable(stem), ")"),
                   read_file(file), file.extension().string().substr(1), command);
    }
  }
}

std::vector<Check> checks_of(const ReportInputs& inputs) {
  std::vector<Check> checks;
  for (const ReportedRun& run : inputs.runs) {
    for (const SavedEvaluation& saved : run.evaluations) {
      const Field record(saved.record, saved.file);
      for (const Field& check : record["checks"].items()) {
        checks.push_back({run.label, check["message"].string_or(check["check"].string_or("?")),
                          check["raised"].boolean().value_or(false)});
      }
    }
  }
  return checks;
}

void add_checks(const ReportInputs& inputs, Document& page) {
  Sheet sheet{"checks",
              "Checks of the saved evaluations",
              {{"run", {}}, {"finding", {}}, {"what was found", {}}},
              {}};
  page.section("Checks");
  for (const Check& check : checks_of(inputs)) {
    sheet.add_row({check.run, check.raised ? "WARNING" : "passed", check.message});
    if (check.raised) page.warning(text(check.run, ": ", check.message));
  }
  for (const ReportedRun& run : inputs.runs) {
    const auto exact = run.records.run.find("exact");
    if (exact != run.records.run.end() && *exact == false)
      page.warning(run.label +
                   " was resumed with other threads, device or libraries, so it cannot be repeated "
                   "to the bit.");
    const auto status = run.records.run.find("status");
    if (status != run.records.run.end() && *status != "finished")
      page.warning(text(run.label, " is not finished: its status is ", status->dump(), "."));
  }
  if (sheet.rows() > 0) {
    page.table(std::move(sheet));
  } else {
    page.muted("No saved evaluation; cmat eval RUN --save makes one, with its checks.");
  }
}

}  // namespace cmat::report
