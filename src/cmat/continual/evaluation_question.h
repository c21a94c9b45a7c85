// What an evaluation asks: as a name for the same question, and as the words of a command.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/attack/threat_model.h"
#include "cmat/continual/run.h"

namespace cmat::continual {

/// All that a verdict depends on, so that only the same question goes on where it was. `machine` is
/// what logits depend on beside the model (logits_key).
nlohmann::json identity_of(const std::filesystem::path& run, const EvaluateOptions& options,
                           const std::vector<attack::ThreatModel>& threats,
                           const std::vector<std::int64_t>& tasks, const std::string& machine);

/// Options of `cmat eval` that ask the same again: "--attack clean,apgd-ce --limit 200 --save".
/// Where images and pictures were to go is not part of the question.
std::string options_text(const EvaluateOptions& options);

}  // namespace cmat::continual
