#include "cmat/continual/goals.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/json_lines.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

/// By the task's name, of the tasks that were committed.
std::map<std::string, double> reached(const std::filesystem::path& folder) {
  std::map<std::string, double> accuracy;
  std::string name;
  double latest = -1;
  read_json_lines(folder / "events.jsonl", [&](const json& event, const std::string&) {
    const std::string kind = event.value("event", "");
    if (kind == "begin_task") {
      name = event.value("name", "");
      latest = -1;
    }
    if (kind == "stage" && event.value("accepted", false) && event.contains("validation")) {
      latest = event["validation"].value("robust_accuracy", -1.0);
    }
    if (kind == "commit" && latest >= 0) accuracy[name] = latest;
  });
  return accuracy;
}

}  // namespace

std::vector<double> goals_of(const std::filesystem::path& folder, const data::Stream& stream) {
  require_run(folder);
  const std::map<std::string, double> accuracy = reached(folder);
  std::vector<double> goals;
  for (const data::Task& task : stream.tasks) {
    const auto found = accuracy.find(task.name);
    if (found == accuracy.end()) {
      usage_error("growth.goal_run: the run ", folder.string(), " has not learned the task ",
                  task.name, " with validation images, so it sets no goal for it");
    }
    goals.push_back(found->second);
  }
  return goals;
}

}  // namespace cmat::continual
