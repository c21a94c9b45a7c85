#include "cmat/report/run_view.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/core/progress.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

std::string name_of(const std::filesystem::path& folder) {
  // "runs/a/" and "." have no file name of their own.
  const auto normal = std::filesystem::absolute(folder).lexically_normal();
  const auto name = normal.has_filename() ? normal.filename() : normal.parent_path().filename();
  return printable(name.string());
}

/// That a run can have: owners of weights are one byte.
constexpr std::int64_t most_tasks = 255;

}  // namespace

RunView::RunView(const Records& records)
    : folder_(name_of(records.folder)),
      run_(records.run, text("run.json of ", folder_)),
      results_(records.results, text("results.json of ", folder_)) {
  read_measurements();
  collect_attacks();
}

void RunView::read_measurements() {
  for (const Field& each : results_["evaluations"].items()) {
    const auto after = each["after"].integer(), task = each["task"].integer();
    const auto correct = each["correct"].integer(), total = each["total"].integer();
    const auto attack = each["attack"].string();
    const bool identical = each["basis"].string_or("") == "identical";
    if (!after || !task || !correct || !total || !attack) continue;
    if (*after > most_tasks || *task > most_tasks) continue;  // damaged: a table of so many rows
    measurements_.push_back({*after, *task, *correct, *total, *attack, identical});
    learned_ = std::max(learned_, *after);
  }
  for (const std::string& attack : results_["matrices"].keys()) {
    const auto rows = static_cast<std::int64_t>(results_["matrices"][attack].items().size());
    learned_ = std::max(learned_, rows);
  }
}

void RunView::collect_attacks() {
  const auto add = [this](const std::string& name) {
    if (std::find(attacks_.begin(), attacks_.end(), name) == attacks_.end())
      attacks_.push_back(name);
  };
  for (const Field& attack : results_["attacks"].items()) {
    if (const auto name = attack["name"].string()) add(*name);
  }
  for (const Measurement& each : measurements_) add(each.attack);
  for (const std::string& name : results_["summary"].keys()) add(name);
  for (const std::string& name : results_["matrices"].keys()) add(name);
  std::stable_partition(attacks_.begin(), attacks_.end(),
                        [](const std::string& name) { return name == "clean"; });
}

std::string RunView::label() const { return folder_; }

std::int64_t RunView::named_tasks() const {
  return static_cast<std::int64_t>(results_["tasks"].items().size());
}

std::vector<std::string> RunView::task_names() const {
  std::vector<std::string> names;
  for (const Field& task : results_["tasks"].items()) names.push_back(task["name"].string_or(""));
  return names;
}

std::optional<double> RunView::mean_chance() const {
  double sum = 0;
  std::int64_t count = 0;
  for (const Field& task : results_["tasks"].items()) {
    const auto chance = task["chance"].number();
    if (count == learned_ || !chance) break;
    sum += *chance;
    ++count;
  }
  if (count == 0 || count != learned_) return {};
  return sum / static_cast<double>(count);
}

Field RunView::per_task(std::int64_t task, const std::string& attack) const {
  const Field all = results_["per_task"];
  for (const Field& each : all.items()) {
    if (each["task"].integer() == task && each["attack"].string() == attack) return each;
  }
  static const nlohmann::json absent;
  return {absent, "results.json"};
}

std::optional<double> RunView::accuracy(std::int64_t task, const std::string& attack) const {
  if (const auto known = per_task(task, attack)["accuracy"].number()) return known;
  const Measurement* last = nullptr;
  for (const Measurement& each : measurements_) {
    const bool wanted = each.task == task && each.attack == attack && each.total > 0;
    if (wanted && (last == nullptr || each.after >= last->after)) last = &each;
  }
  if (last == nullptr) return {};
  return static_cast<double>(last->correct) / static_cast<double>(last->total);
}

std::string RunView::recipe(const std::string& attack) const {
  for (const Field& each : results_["attacks"].items()) {
    if (each["name"].string() == attack) return each["recipe"].string_or("");
  }
  return "";
}

std::string RunView::denominators(const std::string& attack) const {
  std::int64_t low = std::numeric_limits<std::int64_t>::max(), high = -1;
  for (const Measurement& each : measurements_) {
    if (each.attack != attack) continue;
    low = std::min(low, each.total);
    high = std::max(high, each.total);
  }
  if (high < 0) return "";
  const std::string first = low == high ? "" : text(with_commas(low), " to ");
  return text(first, with_commas(high), " images a task");
}

bool RunView::nothing_changed(const std::string& attack) const {
  bool some = false;
  for (const Measurement& each : measurements_) {
    if (each.attack != attack || each.after <= each.task) continue;
    if (!each.identical) return false;
    some = true;
  }
  return some;
}

std::string RunView::forgetting(const std::string& attack) const {
  if (nothing_changed(attack)) return "0 (identical)";
  if (learned_ < 2) return std::string(kUnknown);
  return points(summary(attack)["forgetting"].number(), /*show_plus=*/false);
}

std::string RunView::threat_model() const {
  const Field model = results_["threat_model"];
  std::string norm = model["norm"].string_or("");
  if (!norm.empty() && norm[0] == 'l') norm[0] = 'L';
  const auto pixels = model["eps_pixels"].number();
  const std::string eps = model["eps"].string_or(pixels ? format_eps(*pixels) : "");
  if (norm.empty() && eps.empty()) return "";
  return text(norm.empty() ? "unknown norm" : norm, eps.empty() ? "" : ", eps ", eps);
}

std::string RunView::network() const {
  const auto width = results_["width"].number();
  const std::string name = results_["network"].string_or("");
  return width && *width != 1 ? text(name, ", width ", *width) : name;
}

std::string RunView::bytes() const {
  const auto total = results_["bytes"]["total"].number();
  return total ? format_bytes(*total) : std::string(kUnknown);
}

}  // namespace cmat::report
