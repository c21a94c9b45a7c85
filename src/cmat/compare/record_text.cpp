#include <algorithm>

#include "cmat/compare/results.h"
#include "cmat/core/error.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"

namespace cmat::compare {
namespace {

using nlohmann::json;
using report::percent;

std::vector<std::string> in_order(const json& entries, const char* key) {
  std::vector<std::string> values;
  for (const json& entry : entries) {
    const std::string value = entry.at(key);
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
  }
  return values;
}

/// "41.2 ± 0.6 [39.8, 42.5]"
std::string cell(const json& entry) {
  const json& spread = entry.at("spread");
  const json& bounds = entry.at("interval");
  return percent(entry.at("mean").get<double>()) +
         (spread.is_null() ? "" : " ± " + percent(spread.get<double>())) + " " +
         report::percent_interval(bounds[0].get<double>(), bounds[1].get<double>());
}

std::string published_of(const json& record, const std::string& name) {
  for (const json& row : record.at("rows")) {
    if (row.at("name") == name && row.contains("published")) return row["published"]["text"];
  }
  return "";
}

std::string table_of(const json& record, const std::string& group) {
  std::vector<std::vector<std::string>> rows = {{"row", "runs"}};
  const auto attacks = record.at("attacks").get<std::vector<std::string>>();
  for (const std::string& attack : attacks) rows[0].push_back(attack + " %");
  rows[0].push_back("published");
  json members = json::array(), last;
  for (const json& entry : record.at("table")) {
    if (entry.at("group") != group) continue;
    if (rows.size() == 1 || entry.at("name") != last.at("name"))
      rows.push_back({entry.at("label"), std::to_string(entry.at("runs").get<int>())});
    last = entry;
    rows.back().push_back(cell(entry));
    if (rows.back().size() == attacks.size() + 2)
      rows.back().push_back(published_of(record, entry.at("name")));
  }
  return text("\n", group, " (chance ", percent(last.at("chance").get<double>()), "%)\n",
              report::format_table(rows));
}

std::string contrast_line(const json& c) {
  return text(c.at("attack").get<std::string>(), ": ", c.at("verdict").get<std::string>(), " (",
              report::points(c.at("difference").get<double>(), true), " points ",
              report::percent_interval(c.at("interval")[0].get<double>(),
                                       c.at("interval")[1].get<double>()),
              ", p ", report::fixed(c.at("p_holm").get<double>(), 4), " after Holm)\n");
}

}  // namespace

std::string comparison_text(const json& record) {
  std::string result = text("Comparison ", record.at("name").get<std::string>(),
                            ": mean ± standard deviation over runs [95% interval]\n");
  for (const std::string& group : in_order(record.at("table"), "group"))
    result += table_of(record, group);
  if (!record.at("contrasts").empty()) result += "\nContrasts\n";
  for (const json& contrast : record.at("contrasts")) result += contrast_line(contrast);
  for (const json& row : record.at("rows")) {
    if (row.at("seed") != record.at("rows")[0].at("seed")) continue;
    if (row.contains("note"))
      result += text("note on ", row.at("label").get<std::string>(), ": ",
                     row["note"].get<std::string>(), "\n");
    if (row.contains("published"))
      result += text("published ", row["published"]["text"].get<std::string>(), " of ",
                     row.at("label").get<std::string>(), ": ",
                     row["published"]["note"].get<std::string>(), "\n");
  }
  for (const json& warning : record.at("warnings"))
    result += "WARNING: " + warning.get<std::string>() + "\n";
  for (const json& row : record.at("rows")) {
    if (row.at("status") != "done")
      result += text(row.at("run").get<std::string>(), " is ", row.at("status").get<std::string>(),
                     row.at("reason") == "" ? "" : ": ", row.at("reason").get<std::string>(), "\n");
  }
  return result;
}

}  // namespace cmat::compare
