// What was run, and the headline numbers.
#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/core/progress.h"
#include "cmat/report/page/accuracy.h"
#include "cmat/report/page/parts.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

std::string seed_text(const RunView& view) {
  const auto seed = view.results()["seed"].integer();
  return seed ? text(*seed) : std::string(kUnknown);
}

/// What all runs of a report were measured under, as the first of them says it.
std::vector<std::pair<std::string, std::string>> facts_of(const RunView& view) {
  const Field& run = view.run();
  const auto threads = run["threads"].integer();
  std::string protocol = view.results()["protocol"].string_or("");
  if (protocol == "task-aware") protocol += ": the task is given, and only its classes compete";
  std::string attacks;
  for (const std::string& attack : view.attacks()) {
    if (attack == "clean") continue;
    attacks += text(attacks.empty() ? "" : "; ", attack, ": ", view.recipe(attack), ", ",
                    view.denominators(attack));
  }
  return {{"protocol", protocol},
          {"threat model", view.threat_model()},
          {"data", view.results()["source"].string_or("")},
          {"tasks", text(view.learned(), " of ", view.named_tasks(), " learned")},
          {"attacks", attacks},
          {"program",
           text(run["program"].string_or(""), ", libtorch ", run["libtorch"].string_or("?"))},
          {"machine",
           text(run["machine"].string_or(""), ", ", run["device"].string_or(""), ", ",
                run["instruction_set"].string_or(""),
                threads ? text(", ", *threads, *threads == 1 ? " thread" : " threads") : "")}};
}

Sheet runs_sheet(const ReportInputs& inputs) {
  Sheet sheet{"runs",
              "The runs",
              {{"run", {}},
               {"method", {}},
               {"objective", {}},
               {"network", {}},
               {"seed", {}},
               {"status", {}},
               {"training time", {}},
               {"images forward", {}},
               {"images backward", {}}},
              {"images forward, backward: images through training passes, attack included."}};
  for (const ReportedRun& each : inputs.runs) {
    const RunView view(each.records);
    const auto seconds = view.run()["seconds"].number();
    const auto count = [&](const char* name) {
      const auto value = view.results()[name].integer();
      return value ? with_commas(*value) : std::string(kUnknown);
    };
    sheet.add_row({each.label, view.results()["method"].string_or("-"),
                   view.results()["objective"].string_or("-"), view.network(), seed_text(view),
                   view.run()["status"].string_or("-"), seconds ? format_duration(*seconds) : "-",
                   count("images_forward"), count("images_backward")});
  }
  return sheet;
}

/// The headline of one run.
std::vector<Document::Card> cards_of(const RunView& view, const std::vector<std::string>& attacks) {
  std::vector<Document::Card> cards;
  for (const std::string& attack : attacks) {
    const auto mean = own_mean(view, attack);
    cards.push_back({attack == "clean" ? "clean accuracy" : "accuracy under " + attack,
                     mean ? percent(mean->value) + " %" : "-",
                     mean ? text("95% interval ", interval_text(*mean)) : ""});
  }
  for (const std::string& attack : attacks) {
    const bool identical = view.nothing_changed(attack);
    cards.push_back({"forgetting, " + attack, identical ? "0" : view.forgetting(attack),
                     identical ? "points; identical to the bit" : "points"});
  }
  cards.push_back({"chance", percent(view.mean_chance()) + " %", "guessing"});
  cards.push_back({"stored model", view.bytes(), text(view.learned(), " tasks")});
  return cards;
}

Sheet headline_sheet(const ReportInputs& inputs, const std::vector<std::string>& attacks) {
  Sheet sheet{
      "headline",
      "Mean accuracy over the tasks learned, %",
      {{"run", {}}, {"tasks", {}}},
      {image_intervals, "Each robust number is an upper bound: a stronger attack may find more."}};
  for (const std::string& attack : attacks) {
    sheet.columns.push_back({attack, {}});
    sheet.columns.push_back({attack + " 95% interval", {}});
  }
  sheet.columns.push_back({"chance", {}});
  for (const ReportedRun& run : inputs.runs) {
    const RunView view(run.records);
    std::vector<std::string> cells = {run.label, text(view.learned())};
    for (const std::string& attack : attacks) {
      const auto mean = own_mean(view, attack);
      cells.push_back(mean ? percent(mean->value) : std::string(kUnknown));
      cells.push_back(mean ? interval_text(*mean) : std::string(kUnknown));
    }
    cells.push_back(percent(view.mean_chance()));
    sheet.add_row(std::move(cells));
  }
  return sheet;
}

}  // namespace

void add_setting(const ReportInputs& inputs, Document& page) {
  page.section("What was run");
  if (inputs.runs.empty()) {
    page.muted("No row of the comparison is finished yet.");
    return;
  }
  page.facts(facts_of(RunView(inputs.runs.front().records)));
  page.table(runs_sheet(inputs));
  for (const ReportedRun& each : inputs.runs) page.command(each.label + ":", train_command(each));
}

void add_headline(const ReportInputs& inputs, Document& page) {
  const std::vector<std::string> attacks = all_attacks(inputs);
  if (attacks.empty()) return;
  page.section("Headline numbers");
  const std::vector<Check> checks = checks_of(inputs);
  const auto warnings =
      std::count_if(checks.begin(), checks.end(), [](const Check& check) { return check.raised; });
  if (warnings > 0) {
    page.warning(text(warnings, warnings == 1 ? " check" : " checks",
                      " of the evaluations gave cause for concern; see the last section but one."));
  }
  if (inputs.runs.size() == 1) page.cards(cards_of(RunView(inputs.runs.front().records), attacks));
  page.table(headline_sheet(inputs, attacks));
}

}  // namespace cmat::report
