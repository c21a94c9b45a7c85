// Reading a log that holds one JSON object a line, such as events.jsonl.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace cmat {

/// Calls `visit` with each record and the line that it stands in, first to last. A file that is not
/// there holds no records, and a last line without its end is what a crash left of an append: it is
/// passed over if it is no object. Throws a failure that names the line for any other line that is
/// no JSON object, and for a record whose fields have other types than `visit` takes them for.
void read_json_lines(
    const std::filesystem::path& path,
    const std::function<void(const nlohmann::json& record, const std::string& line)>& visit);

}  // namespace cmat
