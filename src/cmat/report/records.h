// A run folder as it is read back: no tensor library, no trust. The format is docs/run-format.md.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace cmat::report {

struct Records {
  std::filesystem::path folder;
  nlohmann::json run;      ///< run.json: versions, machine, threads, seed, status
  nlohmann::json results;  ///< results.json; null while the first task is not evaluated
};

/// Throws a usage Error when the folder is not a run of CMAT, or of another format version.
Records read_records(const std::filesystem::path& folder);

/// The last `count` events (events.jsonl), newest last; a torn last line is ignored.
std::vector<nlohmann::json> read_events(const std::filesystem::path& folder, std::size_t count);

}  // namespace cmat::report
