#include "cmat/core/json_lines.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "cmat/core/error.h"

namespace cmat {

using nlohmann::json;

void read_json_lines(
    const std::filesystem::path& path,
    const std::function<void(const json& record, const std::string& line)>& visit) {
  std::ifstream in(path);
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    const json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object()) {
      if (in.eof()) return;
      failure(path.string(), " is damaged: line ", number, " is not a JSON object");
    }
    try {
      visit(record, line);
    } catch (const json::exception&) {
      failure(path.string(), " is damaged: a field in line ", number, " is of another type");
    }
  }
}

}  // namespace cmat
