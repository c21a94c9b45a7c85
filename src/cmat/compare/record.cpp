#include <algorithm>
#include <cmath>
#include <optional>

#include "cmat/compare/results.h"
#include "cmat/core/error.h"
#include "cmat/report/tables.h"
#include "cmat/report/wording.h"

namespace cmat::compare {
namespace {

using nlohmann::json;

/// The finished runs of a row.
struct RowResults {
  const Row* row = nullptr;
  std::vector<RunResult> runs;
  Outcomes under(std::size_t attack) const {
    Outcomes outcomes;
    for (const RunResult& run : runs) outcomes.push_back(run.attacks[attack]);
    return outcomes;
  }
  double passes() const {
    double sum = 0;
    for (const RunResult& run : runs) sum += run.passes;
    return sum / static_cast<double>(runs.size());
  }
};

json row_entry(const std::filesystem::path& out, const Plan& plan, const Row& row,
               const PlannedRun& run, RowResults& results) {
  RunStatus status = read_status(out, plan, row, run);
  json entry = {{"name", row.name},        {"label", row.label},   {"group", row.group},
                {"seed", run.seed},        {"order", run.order},   {"run", "rows/" + run.name},
                {"method", nullptr},       {"objective", nullptr}, {"seconds", status.seconds},
                {"protocol", row.protocol}};
  if (status.status == "done") {
    results.runs.push_back(read_result(out, plan, row, run));
    entry["method"] = results.runs.back().method;
    entry["objective"] = results.runs.back().objective;
    entry["passes"] = results.runs.back().passes;
    if (!run.source.empty()) entry["source_passes"] = results.runs.back().source_passes;
    entry["threat_model"] = results.runs.back().threat_model;
  }
  entry["status"] = status.status;
  entry["reason"] = status.reason;
  if (!row.note.empty()) entry["note"] = row.note;
  if (!run.source.empty()) entry["source"] = source_folder("", run).string();
  if (!row.published.text.empty())
    entry["published"] = {{"text", row.published.text}, {"note", row.published.note}};
  return entry;
}

/// The best floor row of the group, if one is finished.
std::optional<double> floor_of(const std::vector<RowResults>& all, const std::string& group,
                               std::size_t attack) {
  std::optional<double> best;
  for (const RowResults& r : all) {
    if (!r.row->floor || r.row->group != group || r.runs.empty()) continue;
    best = std::max(best.value_or(0.0), mean_accuracy(r.under(attack)));
  }
  return best;
}

json table_entry(const Plan& plan, const std::vector<RowResults>& all, const RowResults& r,
                 std::size_t attack) {
  const Mean mean = bootstrap_mean(r.under(attack), plan.resamples,
                                   static_cast<std::uint64_t>(plan.statistics_seed));
  const std::optional<double> floor = floor_of(all, r.row->group, attack);
  return {{"group", r.row->group},
          {"name", r.row->name},
          {"label", r.row->label},
          {"attack", plan.attacks[attack]},
          {"ran", r.runs.front().names[attack]},
          {"mean", mean.accuracy},
          {"spread", r.runs.size() > 1 ? json(mean.spread) : json()},
          {"interval", {mean.interval.low, mean.interval.high}},
          {"runs", r.runs.size()},
          {"chance", r.runs.front().chance},
          {"floor", floor ? json(*floor) : json()}};
}

const RowResults& results_of(const std::vector<RowResults>& all, const std::string& name) {
  return *std::find_if(all.begin(), all.end(),
                       [&](const RowResults& r) { return r.row->name == name; });
}

struct Tested {
  const Contrast* contrast = nullptr;
  json entry;
  double p = 1;
};

std::optional<Tested> test(const Plan& plan, const std::vector<RowResults>& all,
                           const Contrast& c) {
  const RowResults &a = results_of(all, c.a), &b = results_of(all, c.b);
  if (a.runs.empty() || b.runs.empty()) return {};
  const auto attack = static_cast<std::size_t>(
      std::find(plan.attacks.begin(), plan.attacks.end(), c.attack) - plan.attacks.begin());
  const Outcomes under_a = a.under(attack), under_b = b.under(attack);
  const std::vector<double> sorted = resampled_differences(
      under_a, under_b, plan.resamples, static_cast<std::uint64_t>(plan.statistics_seed));
  const Interval95 interval = middle(sorted);
  Tested tested{&c,
                {{"a", c.a},
                 {"b", c.b},
                 {"attack", c.attack},
                 {"question", question_name(c.question)},
                 {"difference", mean_accuracy(under_a) - mean_accuracy(under_b)},
                 {"interval", {interval.low, interval.high}},
                 {"runs", {a.runs.size(), b.runs.size()}}},
                1};
  if (c.question == Question::difference) tested.p = p_difference(sorted);
  if (c.question == Question::not_worse) tested.p = p_not_worse(sorted, plan.margin);
  if (c.question == Question::equivalent) tested.p = p_equivalent(sorted, plan.margin);
  return tested;
}

std::string verdict(const Plan& plan, const Tested& tested, double p) {
  const std::string &a = tested.contrast->a, &b = tested.contrast->b;
  const std::string margin = report::fixed(plan.margin * 100, 1) + " points";
  const bool shown = p <= plan.level;
  if (tested.contrast->question == Question::not_worse)
    return text(a, shown ? " is not worse than " : " is not shown to be not worse than ", b, " by ",
                margin);
  if (tested.contrast->question == Question::equivalent)
    return text(a, " and ", b, shown ? " are within " : " are not shown to be within ", margin);
  if (!shown) return text("no difference between ", a, " and ", b, " is shown");
  return text(
      a, tested.entry.at("difference").get<double>() > 0 ? " is better than " : " is worse than ",
      b);
}

/// Holm's correction runs over all contrasts of the plan that could be tested.
json contrasts(const Plan& plan, const std::vector<RowResults>& all) {
  std::vector<Tested> tested;
  for (const Contrast& c : plan.contrasts) {
    if (auto t = test(plan, all, c)) tested.push_back(std::move(*t));
  }
  std::vector<double> p;
  for (const Tested& t : tested) p.push_back(t.p);
  const std::vector<double> adjusted = holm(p);
  json result = json::array();
  for (std::size_t i = 0; i < tested.size(); ++i) {
    tested[i].entry["p"] = p[i];
    tested[i].entry["p_holm"] = adjusted[i];
    tested[i].entry["verdict"] = verdict(plan, tested[i], adjusted[i]);
    result.push_back(std::move(tested[i].entry));
  }
  return result;
}

/// What the evaluations' own checks raised, each run by its name.
void warn_of_checks(const std::vector<RowResults>& all, json& warnings) {
  for (const RowResults& r : all) {
    for (const RunResult& run : r.runs) {
      for (const std::string& warning : run.warnings)
        warnings.push_back(text(r.row->name, ", seed ", run.attacks.front().seed, ": ", warning));
    }
  }
}

/// Rows of one table are to have cost about as much training.
void warn_of_budgets(const std::vector<RowResults>& all, json& warnings) {
  for (const RowResults& r : all) {
    if (r.runs.empty() || r.row->own_budget || r.row->floor) continue;
    std::vector<double> passes;
    for (const RowResults& other : all) {
      if (other.row->group == r.row->group && !other.runs.empty() && !other.row->own_budget &&
          !other.row->floor)
        passes.push_back(other.passes());
    }
    std::nth_element(passes.begin(),
                     passes.begin() + static_cast<std::ptrdiff_t>(passes.size() / 2), passes.end());
    const double ratio = r.passes() / passes[passes.size() / 2];
    if (std::abs(ratio - 1) > 0.1)
      warnings.push_back(text("training ", r.row->name, " took ", report::fixed(ratio, 2),
                              " times the forward and backward passes of the middle row of its "
                              "table, so its numbers are not at an equal budget"));
  }
}

void warn_of_threat_models(const std::vector<RowResults>& all, json& warnings) {
  for (const RowResults& r : all) {
    if (r.runs.empty()) continue;
    const auto first = std::find_if(all.begin(), all.end(), [&](const RowResults& other) {
      return other.row->group == r.row->group && !other.runs.empty();
    });
    const std::string &here = r.runs.front().threat_model,
                      &there = first->runs.front().threat_model;
    if (here != there)
      warnings.push_back(text(r.row->name, " was attacked with ", here, ", but ", first->row->name,
                              " with ", there, ": their accuracies do not compare"));
  }
}

}  // namespace

json comparison_record(const std::filesystem::path& out, const Plan& plan) {
  json record = {{"format", 1},
                 {"name", plan.name},
                 {"rows", json::array()},
                 {"attacks", plan.attacks},
                 {"limit", plan.limit},
                 {"resamples", plan.resamples},
                 {"level", plan.level},
                 {"margin", plan.margin},
                 {"table", json::array()},
                 {"contrasts", json::array()},
                 {"contrasts_planned", plan.contrasts.size()},
                 {"warnings", json::array()}};
  std::vector<RowResults> all;
  for (const Row& row : plan.rows) {
    all.push_back({&row, {}});
    for (const PlannedRun& run : row.runs)
      record["rows"].push_back(row_entry(out, plan, row, run, all.back()));
  }
  for (const RowResults& r : all) {
    for (std::size_t a = 0; a < plan.attacks.size() && !r.runs.empty(); ++a)
      record["table"].push_back(table_entry(plan, all, r, a));
  }
  record["contrasts"] = contrasts(plan, all);
  warn_of_budgets(all, record["warnings"]);
  warn_of_threat_models(all, record["warnings"]);
  warn_of_checks(all, record["warnings"]);
  return record;
}

}  // namespace cmat::compare
