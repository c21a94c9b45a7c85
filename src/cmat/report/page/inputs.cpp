#include "cmat/report/page/inputs.h"

#include <algorithm>
#include <limits>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/listed.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json parsed_record(const fs::path& path) {
  json value = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) failure(path.string(), " is damaged: it does not hold a JSON object");
  return value;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// What asks the same again; of older records, which do not say, what measures the same attacks at
/// the same radii.
std::string command_of(const fs::path& run, const json& record) {
  const Field all(record, "the evaluation");
  if (const auto options = all["options"].string())
    return text("cmat eval ", printable(run.string()), " ", printable(*options));
  std::vector<std::string> attacks, radii;
  for (const Field& row : all["evaluations"].items()) {
    const std::string attack = row["attack"].string_or("");
    if (!attack.empty() && std::find(attacks.begin(), attacks.end(), attack) == attacks.end())
      attacks.push_back(attack);
  }
  for (const Field& threat : all["threat_models"].items())
    radii.push_back(short_radius(threat["eps"].string_or("")));
  const auto limit = all["limit"].present() ? all["limit"].integer() : std::nullopt;
  return text("cmat eval ", printable(run.string()), " --attack ", listed(attacks, ","),
              radii.empty() ? "" : " --eps ", listed(radii, ","),
              limit && *limit > 0 ? text(" --limit ", *limit) : "", " --save");
}

ReportedRun read_run(const fs::path& folder) {
  ReportedRun run;
  run.records = read_records(folder);
  run.label = RunView(run.records).label();
  run.events = read_events(folder, std::numeric_limits<std::size_t>::max());
  for (const fs::path& file : files_in(folder / "evaluations")) {
    const std::string extension = file.extension().string();
    if (extension == ".json") {
      json record = parsed_record(file);
      std::string command = command_of(folder, record);
      run.evaluations.push_back({file.filename().string(), std::move(record), std::move(command)});
    } else if (extension == ".png" || extension == ".svg") {
      run.pictures.push_back(file);
    }
  }
  return run;
}

void read_comparison(const fs::path& folder, ReportInputs& inputs) {
  inputs.comparisons.push_back(parsed_record(folder / "comparison.json"));
  const Field all(inputs.comparisons.back(), "comparison.json of " + folder.string());
  if (all["format"].integer() != 1) {
    usage_error((folder / "comparison.json").string(), " has format ",
                inputs.comparisons.back().value("format", json()).dump(),
                ", but this program reads format 1 only: use the version of CMAT that wrote it");
  }
  for (const Field& row : all["rows"].items()) {
    if (row["status"].string_or("") != "done") continue;
    const std::string place = row["run"].string_or("");
    if (place.empty()) continue;
    inputs.runs.push_back(read_run(folder / place));
    inputs.runs.back().label = row["label"].string_or(row["name"].string_or(place));
  }
}

/// `of` reads a property from results.json that all runs of one table must share, or "".
void refuse_two(const std::vector<ReportedRun>& runs, const std::string& what,
                std::string (*of)(const Field& results)) {
  const ReportedRun* first = nullptr;
  std::string expected;
  for (const ReportedRun& run : runs) {
    const std::string value = of(Field(run.records.results, "results.json of " + run.label));
    if (value.empty()) continue;
    if (first == nullptr) {
      first = &run;
      expected = value;
    } else if (value != expected) {
      usage_error(first->label, " was measured under the ", what, " ", expected, ", but ",
                  run.label, " under ", value,
                  ": their numbers do not belong into one table, so make a report of each");
    }
  }
}

/// A label stands for one run.
void tell_apart(std::vector<ReportedRun>& runs) {
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::string label = runs[i].label;
    int number = 1;
    for (std::size_t j = i + 1; j < runs.size(); ++j) {
      if (runs[j].label == label) runs[j].label = text(label, " (", ++number, ")");
    }
  }
}

}  // namespace

ReportInputs read_inputs(const std::vector<fs::path>& folders) {
  ReportInputs inputs;
  for (const fs::path& folder : folders) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / "comparison.json", ignored)) {
      read_comparison(folder, inputs);
    } else {
      inputs.runs.push_back(read_run(folder));
    }
  }
  refuse_two(inputs.runs, "protocol",
             [](const Field& results) { return results["protocol"].string_or(""); });
  refuse_two(inputs.runs, "norm",
             [](const Field& results) { return results["threat_model"]["norm"].string_or(""); });
  tell_apart(inputs.runs);
  return inputs;
}

}  // namespace cmat::report
