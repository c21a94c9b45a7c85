#include "cmat/continual/evaluation_store.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "cmat/core/error.h"
#include "cmat/core/files.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestName = 100;

json to_json(const eval::Verdicts& v) {
  json result = {{"labels", v.labels},       {"predictions", v.predictions},
                 {"losses", v.losses},       {"forwards", v.forwards},
                 {"backwards", v.backwards}, {"broken_by", v.broken_by}};
  if (!v.targets.empty()) result["targets"] = v.targets;
  for (const attack::AttackPart& part : v.parts) {
    result["parts"].push_back(
        {part.name, part.recipe, part.attacked, part.broken, part.forwards, part.backwards});
  }
  if (v.observed) {
    result["observed"] = {v.observed->silent_successes, v.observed->rise, v.observed->late_rise,
                          v.observed->passes};
  }
  return result;
}

eval::Verdicts from_json(const json& j) {
  eval::Verdicts v;
  v.labels = j.at("labels").get<std::vector<std::int64_t>>();
  v.predictions = j.at("predictions").get<std::vector<std::int64_t>>();
  v.losses = j.at("losses").get<std::vector<double>>();
  v.broken_by = j.at("broken_by").get<std::vector<std::int64_t>>();
  if (j.contains("targets")) v.targets = j.at("targets").get<std::vector<std::int64_t>>();
  v.forwards = j.at("forwards");
  v.backwards = j.at("backwards");
  if (j.contains("parts")) {
    for (const json& p : j.at("parts"))
      v.parts.push_back({p.at(0), p.at(1), p.at(2), p.at(3), p.at(4), p.at(5)});
  }
  if (j.contains("observed")) {
    const json& o = j.at("observed");
    v.observed = eval::Observed{o.at(0), o.at(1), o.at(2), o.at(3)};
  }
  return v;
}

}  // namespace

std::string evaluation_name(const json& identity) {
  std::string name =
      identity.at("protocol").get<std::string>() + "-" + identity.at("norm").get<std::string>();
  for (const json& eps : identity.at("eps")) {
    std::string shown = text(std::round(eps.get<double>() * 255 * 1000) / 1000);
    name += "-eps" + shown + "of255";
  }
  std::string attacks;
  for (const json& attack : identity.at("attacks"))
    attacks += (attacks.empty() ? "-" : "+") + attack.get<std::string>();
  name += attacks;
  if (!identity.at("curve").get<std::string>().empty())
    name += "-over-" + identity.at("curve").get<std::string>();
  if (identity.contains("targets")) name += "-to-" + identity.at("targets").get<std::string>();
  if (identity.at("limit") > 0) name += text("-n", identity.at("limit").get<std::int64_t>());
  if (!identity.at("every_task").get<bool>()) {
    name += "-tasks";
    for (const json& task : identity.at("tasks")) name += text("_", task.get<std::int64_t>());
  }
  const std::string source = identity.at("source");
  if (!source.empty()) name += "-from-" + std::filesystem::path(source).filename().string();
  for (char& c : name) {
    const bool safe =
        std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '+' || c == '-';
    if (!safe) c = '_';
  }
  if (name.size() <= kLongestName) return name;
  return name.substr(0, kLongestName) + "-" + sha256_hex(identity.dump()).substr(0, 8);
}

EvaluationJournal::EvaluationJournal(std::filesystem::path file, const json& identity)
    : file_(std::move(file)) {
  const std::string header = identity.dump();
  if (std::filesystem::exists(file_)) {
    const std::string content = read_file(file_);
    std::size_t begin = 0, good = 0;
    bool same = false;
    for (std::size_t end; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = content.substr(begin, end - begin);
      if (begin == 0) {
        same = line == header;
        if (!same) break;
      } else {
        try {
          const json entry = json::parse(line);
          found_[entry.at("measurement")] = from_json(entry.at("verdicts"));
        } catch (const json::exception&) {
          break;
        }
      }
      good = end + 1;
    }
    if (same) {
      truncate_file(file_, good);
      for (const auto& [name, verdicts] : found_)
        images_ += static_cast<std::int64_t>(verdicts.labels.size());
      return;
    }
    found_.clear();
  }
  std::filesystem::create_directories(file_.parent_path());
  write_file_atomic(file_, header + "\n");
}

eval::Verdicts EvaluationJournal::find(const std::string& measurement) const {
  const auto found = found_.find(measurement);
  return found == found_.end() ? eval::Verdicts() : found->second;
}

void EvaluationJournal::add(const std::string& measurement, const eval::Verdicts& so_far) {
  if (file_.empty()) return;
  append_file(file_,
              json{{"measurement", measurement}, {"verdicts", to_json(so_far)}}.dump() + "\n");
}

void EvaluationJournal::remove() {
  if (!file_.empty()) std::filesystem::remove(file_);
}

}  // namespace cmat::continual
