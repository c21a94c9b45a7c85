#include "cmat/continual/evaluation_question.h"

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/listed.h"
#include "cmat/core/version.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string model_digest(const fs::path& run) {
  for (const char* name : {"model.safetensors", "checkpoint/last.safetensors"}) {
    if (fs::exists(run / name)) return sha256_hex_of_file(run / name);
  }
  return "";
}

}  // namespace

json identity_of(const fs::path& run, const EvaluateOptions& options,
                 const std::vector<attack::ThreatModel>& threats,
                 const std::vector<std::int64_t>& tasks, const std::string& machine) {
  json eps = json::array();
  for (const attack::ThreatModel& threat : threats) eps.push_back(threat.eps_pixels);
  json identity = {
      {"program", text("cmat ", kVersion)},
      {"model", model_digest(run)},
      {"key", machine},
      {"protocol", options.as_published ? std::string("as-published") : options.protocol},
      {"source", options.source},
      {"source_model", fs::is_directory(options.source)      ? model_digest(options.source)
                       : fs::is_regular_file(options.source) ? sha256_hex_of_file(options.source)
                                                             : ""},
      {"norm", attack::norm_name(threats.front().norm)},
      {"eps", eps},
      {"attacks", options.attacks},
      {"curve", options.curve},
      {"checks", options.checks},
      {"limit", options.limit},
      {"tasks", tasks},
      {"every_task", options.tasks.empty()}};
  if (!options.targets.empty()) identity["targets"] = options.targets;
  return identity;
}

std::string options_text(const EvaluateOptions& options) {
  std::string result;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) result += text(result.empty() ? "" : " ", name, " ", value);
  };
  const auto flag = [&](const char* name, bool given) {
    if (given) result += text(result.empty() ? "" : " ", name);
  };
  flag("--as-published", options.as_published);
  if (!options.as_published) add("--attack", listed(options.attacks, ","));
  add("--eps", listed(options.eps, ","));
  add("--norm", options.norm);
  add("--curve", options.curve);
  add("--tasks", listed(options.tasks, ","));
  if (options.limit > 0) add("--limit", text(options.limit));
  if (options.protocol != "task-aware") add("--protocol", options.protocol);
  add("--source", options.source);
  add("--targets", options.targets);
  flag("--no-checks", !options.checks && !options.as_published);
  flag("--save", options.save);
  return result;
}

}  // namespace cmat::continual
