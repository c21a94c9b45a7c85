// What cmat eval and cmat attack print and draw.
#include "evaluation_output.h"

#include <algorithm>
#include <iostream>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/report/grid.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"

namespace cmat::app {
namespace {

using Row = std::vector<std::string>;

/// "0.0313725 (8/255)", as the record says it; empty for clean images.
std::string radius(const nlohmann::json& results, const nlohmann::json& row) {
  for (const auto& threat : results.at("threat_models")) {
    if (threat.at("eps_pixels") == row.at("eps_pixels")) return threat.at("eps");
  }
  return "";
}

std::string interval(const nlohmann::json& row, const char* name = "interval") {
  const auto& bounds = row.at(name);
  return report::percent_interval(bounds[0].get<double>(), bounds[1].get<double>());
}

/// A row of evaluations or of worst_case, which have no attack and no passes.
Row table_row(const nlohmann::json& results, const nlohmann::json& row) {
  const auto passes = [&](const char* name) {
    return row.contains(name) ? report::fixed(row.at(name).get<double>(), 0) : "";
  };
  Row cells = {std::to_string(row.at("task").get<int>()), row.at("name"),
               row.value("attack", "worst case")};
  if (results.at("threat_models").size() > 1) cells.push_back(radius(results, row));
  for (std::string& cell : Row{report::percent(row.at("accuracy").get<double>()), interval(row),
                               std::to_string(row.at("total").get<int>()),
                               report::percent(row.at("chance").get<double>()), passes("forwards"),
                               passes("backwards")}) {
    cells.push_back(std::move(cell));
  }
  if (results.contains("targets")) {
    cells.push_back(report::percent(row.at("success").get<double>()));
    cells.push_back(interval(row, "success_interval"));
  }
  return cells;
}

void print_curve(const nlohmann::json& results) {
  if (!results.contains("curve")) return;
  const auto& curve = results.at("curve");
  const std::string over = curve.at("over");
  std::vector<Row> rows = {{over, "attack", "mean accuracy %", "95% interval"}};
  for (const auto& point : curve.at("points")) {
    const bool in_pixels = over != "steps";
    rows.push_back({in_pixels ? format_eps(point.at("x").get<double>())
                              : std::to_string(point.at("x").get<int>()),
                    point.at("family"), report::percent(point.at("accuracy").get<double>()),
                    interval(point)});
  }
  std::cout << report::format_table(rows);
}

/// What is wrong in full; of what is not, sentences that hold figures, and the other names.
void print_checks(const nlohmann::json& results) {
  std::vector<std::string> passed;
  for (const auto& check : results.at("checks")) {
    const std::string name = check.at("check"), message = check.at("message");
    if (check.at("raised").get<bool>()) {
      const std::string task =
          check.contains("task") ? text("task ", check.at("task").get<int>(), ": ") : "";
      std::cout << "WARNING: " << task << message << "\n";
    } else if (name == "accuracy-rises" || name == "black-box" || name == "transfer") {
      std::cout << "check: " << message << "\n";
    } else if (std::find(passed.begin(), passed.end(), name) == passed.end()) {
      passed.push_back(name);
    }
  }
  std::string names;
  for (const std::string& name : passed) {
    const auto raised = [&](const auto& check) {
      return check.at("check") == name && check.at("raised").template get<bool>();
    };
    const auto& checks = results.at("checks");
    if (std::none_of(checks.begin(), checks.end(), raised))
      names += (names.empty() ? "" : ", ") + name;
  }
  if (!names.empty()) std::cout << "checks without a finding: " << names << "\n";
}

}  // namespace

void print_evaluation(const nlohmann::json& results) {
  const bool several = results.at("threat_models").size() > 1;
  std::vector<Row> rows = {{"task", "name", "attack", "accuracy %", "95% interval", "images",
                            "chance %", "forwards", "backwards"}};
  if (results.contains("targets")) {
    rows[0].push_back("target reached %");
    rows[0].push_back("95% interval");
  }
  if (several) rows[0].insert(rows[0].begin() + 3, "eps");
  const auto& evaluations = results.at("evaluations");
  for (std::size_t i = 0; i < evaluations.size(); ++i) {
    const auto& row = evaluations[i];
    rows.push_back(table_row(results, row));
    const auto same = [&](const auto& other) {
      return other.at("task") == row.at("task") && other.at("eps_pixels") == row.at("eps_pixels");
    };
    if (i + 1 < evaluations.size() && same(evaluations[i + 1])) continue;
    for (const auto& worst : results.at("worst_case")) {
      if (same(worst)) rows.push_back(table_row(results, worst));
    }
  }
  std::cout << report::format_table(rows);
  for (const auto& row : results.at("averages")) {
    const std::string eps = several ? radius(results, row) : "";
    std::cout << "mean over tasks, " << row.at("attack").get<std::string>()
              << (eps.empty() ? "" : " at eps ") << eps << ": "
              << report::percent(row.at("accuracy").get<double>()) << "% " << interval(row);
    if (row.contains("success")) {
      std::cout << ", target reached " << report::percent(row.at("success").get<double>()) << "% "
                << interval(row, "success_interval");
    }
    std::cout << "\n";
  }
  const auto& threats = results.at("threat_models");
  std::string radii;
  for (const auto& threat : threats)
    radii += (radii.empty() ? "" : ", ") + threat.at("eps").get<std::string>();
  std::cout << "protocol " << results.at("protocol").get<std::string>() << ", "
            << threats[0].at("norm").get<std::string>() << " eps " << radii << "\n";
  if (results.contains("targets")) {
    const auto& targets = results.at("targets");
    std::cout << "targets: " << targets.at("asked").get<std::string>();
    if (const int left_out = targets.at("left_out"); left_out > 0)
      std::cout << ", " << left_out << " images of that class left out";
    std::cout << "; an image that is taken for a third class is neither right nor there\n";
  }
  if (results.contains("note"))
    std::cout << "NOTE: " << results.at("note").get<std::string>() << "\n";
  print_curve(results);
  print_checks(results);
}

void draw_examples(const continual::Evaluation& evaluation, const std::string& path) {
  report::Grid grid{.title = evaluation.title,
                    .caption = evaluation.caption,
                    .channels = evaluation.channels,
                    .height = evaluation.height,
                    .width = evaluation.width,
                    .amplification = 0,
                    .cells = {}};
  for (const continual::Example& e : evaluation.examples) {
    grid.cells.push_back(
        {e.clean, e.adversarial, e.truth, e.clean_prediction, e.adversarial_prediction, e.fooled});
  }
  if (grid.cells.empty())
    failure("no test image of the chosen tasks is classified rightly, so there is nothing to draw");
  if (path.ends_with(".png"))
    report::write_grid_png(path, grid);
  else
    report::write_grid(path, grid);
  std::cerr << "picture: " << path << "\n";
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::string part;
  for (char c : list + ",") {
    if (c != ',')
      part += c;
    else if (!part.empty())
      parts.push_back(std::exchange(part, ""));
  }
  return parts;
}

std::vector<std::string> parse_attacks(const std::string& list) {
  std::vector<std::string> names = split(list);
  if (names.empty()) usage_error("--attack names no attack: use a list like clean,apgd-ce,apgd-t");
  return names;
}

std::vector<std::string> parse_radii(const std::string& list) {
  std::vector<std::string> radii = split(list);
  if (radii.empty() && !list.empty())
    usage_error("--eps names no radius: use a list like 4/255,8/255");
  return radii;
}

std::string attack_list() {
  std::string list;
  for (const std::string& name : continual::known_attacks())
    list += (list.empty() ? "" : ", ") + name;
  return list;
}

}  // namespace cmat::app
