#include "cmat/compare/results.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"

namespace cmat::compare {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json read_json(const fs::path& path) {
  try {
    return json::parse(read_file(path));
  } catch (const json::exception&) {
    failure(path.string(), " is damaged: remove it, and the row will be evaluated again");
  }
}

/// The plan's attacks in the order in which `cmat eval` reports them: clean images come first.
std::vector<std::size_t> reported_order(const std::vector<std::string>& attacks) {
  std::vector<std::size_t> order;
  for (const bool clean : {true, false}) {
    for (std::size_t i = 0; i < attacks.size(); ++i)
      if ((attacks[i] == "clean") == clean) order.push_back(i);
  }
  return order;
}

TaskOutcome task_outcome(const json& verdicts) {
  TaskOutcome outcome{verdicts.at("images").get<std::vector<std::int64_t>>(), {}};
  const auto labels = verdicts.at("labels").get<std::vector<std::int64_t>>();
  const auto predictions = verdicts.at("predictions").get<std::vector<std::int64_t>>();
  if (labels.empty() || labels.size() != predictions.size() ||
      labels.size() != outcome.images.size())
    failure("the lists of verdicts are not equally long");
  for (std::size_t i = 0; i < labels.size(); ++i)
    outcome.right.push_back(labels[i] == predictions[i]);
  return outcome;
}

void read_verdicts(const json& record, const Plan& plan, std::int64_t seed, RunResult& result) {
  const std::vector<std::size_t> order = reported_order(plan.attacks);
  const json& verdicts = record.at("verdicts");
  if (verdicts.empty() || verdicts.size() % order.size() != 0)
    failure("there are ", verdicts.size(), " lists of verdicts for ", order.size(), " attacks");
  result.attacks.assign(order.size(), {seed, {}});
  result.names = plan.attacks;
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    const std::size_t attack = order[i % order.size()];
    result.attacks[attack].tasks.push_back(task_outcome(verdicts[i]));
    if (i < order.size()) result.names[attack] = verdicts[i].at("attack").get<std::string>();
  }
  double chance = 0;
  const json& rows = record.at("evaluations");
  for (const json& row : rows) chance += row.at("chance").get<double>();
  result.chance = chance / static_cast<double>(rows.size());
}

/// Images forward and backward in a run's training.
double passes_of(const json& results) {
  return results.at("images_forward").get<double>() + results.at("images_backward").get<double>();
}

}  // namespace

fs::path run_folder(const fs::path& out, const PlannedRun& run) { return out / "rows" / run.name; }

fs::path source_folder(const fs::path& out, const PlannedRun& run) {
  return out / "rows" / (run.name + "-source");
}

fs::path status_file(const fs::path& out, const PlannedRun& run) {
  return out / "rows" / (run.name + ".json");
}

fs::path evaluation_file(const fs::path& out, const PlannedRun& run) {
  return run_folder(out, run) / "evaluations" / "compare.json";
}

json request_of(const Plan& plan, const Row& row, const PlannedRun& run) {
  return {{"base_sha256", plan.base_sha256}, {"overrides", run.overrides}, {"source", run.source},
          {"protocol", row.protocol},        {"attacks", plan.attacks},    {"limit", plan.limit}};
}

RunStatus read_status(const fs::path& out, const Plan& plan, const Row& row,
                      const PlannedRun& run) {
  const fs::path path = status_file(out, run);
  if (!fs::exists(path)) return {};
  const json found = read_json(path), request = request_of(plan, row, run);
  for (const auto& [key, value] : request.items()) {
    // Records of before rows could have a source do not speak of it.
    const json none = key == "source" ? json::array() : json();
    if (found.at("request").value(key, none) == value) continue;
    usage_error("the row ", run.name, " in ", out.string(), " was run with another \"", key,
                "\" than the comparison has now: remove ", run_folder(out, run).string(),
                fs::exists(source_folder(out, run)) ? ", " + source_folder(out, run).string() : "",
                " and ", path.string(), " to run it anew, or choose another --out");
  }
  RunStatus status{found.at("status"), found.value("reason", ""), found.value("seconds", 0.0)};
  if (status.status == "done" && !fs::exists(evaluation_file(out, run))) status.status = "pending";
  return status;
}

RunResult read_result(const fs::path& out, const Plan& plan, const Row& row,
                      const PlannedRun& run) {
  const fs::path path = evaluation_file(out, run);
  const json record = read_json(path), results = read_json(run_folder(out, run) / "results.json");
  RunResult result;
  try {
    result.protocol = record.at("protocol");
    result.threat_model = record.at("threat_models").at(0).at("norm").get<std::string>() + " eps " +
                          record.at("threat_models").at(0).at("eps").get<std::string>();
    result.method = results.at("method");
    result.objective = results.at("objective");
    result.passes = passes_of(results);
    if (!run.source.empty())
      result.source_passes = passes_of(read_json(source_folder(out, run) / "results.json"));
    for (const json& check : record.at("checks")) {
      if (check.at("raised").get<bool>()) result.warnings.push_back(check.at("message"));
    }
    read_verdicts(record, plan, run.seed, result);
  } catch (const json::exception&) {
    failure(path.string(), " is not what this version writes: remove it to evaluate the row again");
  }
  if (result.protocol != row.protocol)
    failure(path.string(), " was measured under the protocol ", result.protocol, ", not ",
            row.protocol, ": two protocols cannot share a table");
  return result;
}

}  // namespace cmat::compare
