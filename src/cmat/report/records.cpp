#include "cmat/report/records.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "cmat/core/error.h"
#include "cmat/core/files.h"

namespace cmat::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t format_version = 1;

json read_object(const fs::path& path) {
  json value;
  try {
    value = json::parse(read_file(path));
  } catch (const json::parse_error& error) {
    failure(path.string(), " is damaged: it is not JSON at byte ", error.byte);
  } catch (const json::exception&) {  // a number beyond all bounds
    failure(path.string(), " is damaged: it holds a number that is too large");
  }
  if (!value.is_object()) failure(path.string(), " is damaged: it does not hold a JSON object");
  return value;
}

void check_format(const json& value, const fs::path& path) {
  const auto format = value.find("format");
  if (format == value.end() || !format->is_number_integer()) {
    usage_error(path.string(), " was not written by CMAT: it names no run format");
  }
  if (*format != format_version) {
    usage_error(path.string(), " has run format ", format->dump(),
                ", but this program reads format ", format_version,
                " only: use the version of CMAT that wrote it");
  }
}

/// The lines of a file, last first, without copying them.
class LinesFromTheEnd {
 public:
  explicit LinesFromTheEnd(std::string_view content) : rest_(content) {}

  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    if (rest_.back() == '\n') rest_.remove_suffix(1);
    const std::size_t newline = rest_.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    line = rest_.substr(begin);
    rest_ = rest_.substr(0, begin);
    return true;
  }

 private:
  std::string_view rest_;
};

}  // namespace

Records read_records(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) usage_error("there is no folder ", folder.string());
  const fs::path run = folder / "run.json";
  if (!fs::is_regular_file(run, ignored)) {
    usage_error(folder.string(), " is not a run of CMAT: it holds no run.json");
  }
  Records records{folder, read_object(run), nullptr};
  check_format(records.run, run);
  const fs::path results = folder / "results.json";
  if (fs::exists(results, ignored)) {
    records.results = read_object(results);
    check_format(records.results, results);
  }
  return records;
}

std::vector<json> read_events(const fs::path& folder, std::size_t count) {
  const fs::path path = folder / "events.jsonl";
  std::error_code ignored;
  std::vector<json> events;
  if (count == 0 || !fs::exists(path, ignored)) return events;
  const std::string content = read_file(path);
  LinesFromTheEnd lines(content);
  std::string_view line;
  for (bool last = true; events.size() < count && lines.next(line); last = false) {
    if (line.empty()) continue;
    json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (event.is_object()) {
      events.push_back(std::move(event));
    } else if (!last || content.back() == '\n') {
      // Only a line without its end can be what a crash left of an append.
      const auto number = 1 + std::count(content.data(), line.data(), '\n');
      failure(path.string(), " is damaged: line ", number, " is not a JSON object");
    }
  }
  std::reverse(events.begin(), events.end());
  return events;
}

}  // namespace cmat::report
