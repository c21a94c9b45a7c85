// Accuracy over eps, steps and step size.
#include <map>

#include "cmat/core/error.h"
#include "cmat/report/page/accuracy.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

/// Means by family of attacks and by x.
using Curves = std::map<std::string, std::map<double, Mean>>;

/// What a run's saved evaluations of its own protocol hold over `over`; `command` becomes that of
/// the last that does.
Curves curves_of(const ReportedRun& run, const std::string& over, std::string& command) {
  Curves curves;
  const Field results(run.records.results, "results.json of " + run.label);
  const std::string protocol = results["protocol"].string_or("");
  for (const SavedEvaluation& saved : run.evaluations) {
    const auto add = [&](const Field& entry, const char* x_name, const std::string& family) {
      const auto x = entry[x_name].number(), y = entry["accuracy"].number();
      if (!x || !y) return;
      curves[family][*x] = mean_of(*y, entry["interval"]);
      command = saved.command;
    };
    const Field all(saved.record, saved.file);
    if (all["protocol"].string_or(protocol) != protocol) continue;
    if (all["curve"].present() && all["curve"]["over"].string_or("") == over) {
      for (const Field& point : all["curve"]["points"].items())
        add(point, "x", point["family"].string_or(point["attack"].string_or("?")));
    } else if (over == "eps" && all["threat_models"].items().size() > 1) {
      for (const Field& row : all["averages"].items())
        add(row, "eps_pixels", row["attack"].string_or("?"));
    }
  }
  return curves;
}

/// Each family with at least two points as a line, named with `prefix` before it. Clean accuracy
/// is every family's at eps 0.
void add_lines(Curves curves, const std::string& over, const std::string& prefix, Chart& chart) {
  const auto clean = curves.find("clean");
  for (auto& [family, points] : curves) {
    if (family == "clean") continue;
    if (over == "eps" && clean != curves.end() && !clean->second.empty())
      points.emplace(0, clean->second.begin()->second);
    if (points.size() < 2) continue;
    Series series{prefix + family, {}};
    for (const auto& [x, mean] : points)
      series.points.push_back(point_of(over == "steps" ? x : 255 * x, mean));
    chart.series.push_back(std::move(series));
  }
}

void add_one_curve(const ReportInputs& inputs, const std::string& over, const std::string& title,
                   const std::string& axis, Document& page, bool& started) {
  Chart chart = accuracy_chart(axis);
  std::string command;
  for (const ReportedRun& run : inputs.runs) {
    const std::string prefix = inputs.runs.size() == 1 ? "" : run.label + ", ";
    add_lines(curves_of(run, over, command), over, prefix, chart);
  }
  if (chart.series.empty()) return;
  if (!started) page.section("Accuracy over eps, steps and step size");
  started = true;
  chart.log_x = over == "steps";
  page.figure({.name = "accuracy-over-" + over,
               .title = title,
               .caption = image_intervals,
               .command = command,
               .drawing = std::move(chart)});
}

}  // namespace

void add_curves(const ReportInputs& inputs, Document& page) {
  bool started = false;
  add_one_curve(inputs, "eps", "Accuracy over the radius", "eps, 1/255 of the pixel range", page,
                started);
  add_one_curve(inputs, "steps", "Accuracy over the attack's steps", "steps (logarithmic)", page,
                started);
  add_one_curve(inputs, "step-size", "Accuracy over the attack's step size",
                "step, 1/255 of the pixel range", page, started);
  if (started || inputs.runs.empty()) return;
  page.section("Accuracy over eps, steps and step size");
  page.command("Not measured; this command does it for eps:",
               text("cmat eval ", printable(inputs.runs.front().records.folder.string()),
                    " --attack clean,pgd20 --eps 2/255,4/255,8/255,16/255 --save"));
}

}  // namespace cmat::report
