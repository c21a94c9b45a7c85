#include "cmat/continual/evaluation_record.h"

#include <algorithm>
#include <optional>

#include "cmat/continual/results.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/eval/checks.h"
#include "cmat/eval/metrics.h"
#include "cmat/eval/model_checks.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

std::vector<bool> right(const eval::Verdicts& v) {
  std::vector<bool> result;
  for (std::size_t i = 0; i < v.labels.size(); ++i)
    result.push_back(v.labels[i] == v.predictions[i]);
  return result;
}

/// How often images are taken for their targets; nothing of attacks that have none.
void add_success(json& row, bool targeted, eval::Counts reached) {
  if (!targeted) return;
  const eval::Interval interval = eval::wilson(reached.correct, reached.total);
  row["reached"] = reached.correct;
  row["success"] = static_cast<double>(reached.correct) / static_cast<double>(reached.total);
  row["success_interval"] = {interval.low, interval.high};
}

bool is_targeted(const Measurement& m) { return !m.verdicts.targets.empty(); }

/// What all rows of accuracies have.
json score(const Measurement& m, double eps_pixels, eval::Counts counts) {
  const eval::Interval interval = eval::wilson(counts.correct, counts.total);
  return {{"task", m.task},
          {"name", m.task_name},
          {"eps_pixels", eps_pixels},
          {"eps", eps_pixels > 0 ? format_eps(eps_pixels) : ""},
          {"correct", counts.correct},
          {"total", counts.total},
          {"accuracy", static_cast<double>(counts.correct) / static_cast<double>(counts.total)},
          {"interval", {interval.low, interval.high}},
          {"chance", 1.0 / static_cast<double>(m.classes)}};
}

json evaluation_row(const Measurement& m) {
  json row = score(m, m.eps_pixels, {m.verdicts.correct(), m.verdicts.total()});
  add_success(row, is_targeted(m), {m.verdicts.reached(), m.verdicts.total()});
  row["attack"] = m.attack;
  row["recipe"] = m.recipe;
  row["forwards"] = m.verdicts.forwards;
  row["backwards"] = m.verdicts.backwards;
  if (m.steps > 0) row["steps"] = m.steps;
  if (m.step_share >= 0) {
    row["step_pixels"] = m.step_share * m.eps_pixels;
    row["step"] = format_eps(m.step_share * m.eps_pixels);
  }
  for (const auto& [source, left] : m.sources)
    row["sources"].push_back({{"source", source}, {"correct", left}});
  for (const attack::AttackPart& part : m.verdicts.parts) {
    row["parts"].push_back({{"attack", part.name},
                            {"recipe", part.recipe},
                            {"attacked", part.attacked},
                            {"broken", part.broken},
                            {"forwards", part.forwards},
                            {"backwards", part.backwards}});
  }
  return row;
}

json verdict_row(const Measurement& m) {
  json row = {{"task", m.task},
              {"attack", m.attack},
              {"eps_pixels", m.eps_pixels},
              {"images", m.verdicts.samples},
              {"labels", m.verdicts.labels},
              {"predictions", m.verdicts.predictions}};
  if (is_targeted(m)) row["targets"] = m.verdicts.targets;
  return row;
}

/// One attack at one radius, over all tasks.
struct Series {
  std::string asked, attack;
  double eps_pixels = 0;
  bool listed = true, white_box = false;
  std::string family;
  int steps = 0;
  std::vector<const Measurement*> tasks;

  eval::Survivors survivors() const {
    eval::Survivors all{.attack = attack, .eps_pixels = eps_pixels, .steps = steps};
    for (const Measurement* m : tasks) {
      const std::vector<bool> some = right(m->verdicts);
      all.right.insert(all.right.end(), some.begin(), some.end());
    }
    return all;
  }
};

/// In the order in which they first come. An AutoAttack that ran differently on different tasks
/// (their classes are not equally many) goes by the name that was asked for.
std::vector<Series> series_of(const std::vector<Measurement>& measurements) {
  std::vector<Series> result;
  for (const Measurement& m : measurements) {
    auto found = std::find_if(result.begin(), result.end(), [&](const Series& s) {
      return s.asked == m.asked && s.eps_pixels == m.eps_pixels && s.white_box == m.white_box;
    });
    if (found == result.end()) {
      result.push_back(
          {m.asked, m.attack, m.eps_pixels, m.listed, m.white_box, m.family, m.steps, {}});
      found = std::prev(result.end());
    }
    if (found->attack != m.attack) found->attack = m.asked;
    found->tasks.push_back(&m);
  }
  return result;
}

json average(const std::string& attack, double eps_pixels,
             const std::vector<eval::Counts>& counts) {
  const eval::MeanAccuracy mean = eval::mean_accuracy(counts);
  return {{"attack", attack},
          {"eps_pixels", eps_pixels},
          {"tasks", counts.size()},
          {"accuracy", mean.accuracy},
          {"interval", {mean.interval.low, mean.interval.high}}};
}

void add_mean_success(json& row, const std::vector<eval::Counts>& reached) {
  const eval::MeanAccuracy mean = eval::mean_accuracy(reached);
  row["success"] = mean.accuracy;
  row["success_interval"] = {mean.interval.low, mean.interval.high};
}

json average(const Series& series) {
  std::vector<eval::Counts> counts;
  std::vector<eval::Counts> reached;
  for (const Measurement* m : series.tasks) {
    counts.push_back({m->verdicts.correct(), m->verdicts.total()});
    reached.push_back({m->verdicts.reached(), m->verdicts.total()});
  }
  json row = average(series.attack, series.eps_pixels, counts);
  if (is_targeted(*series.tasks.front())) add_mean_success(row, reached);
  return row;
}

bool is_square(const std::string& attack) { return attack.starts_with("square"); }

/// Images of the t-th task that any of these brought to its goal.
std::int64_t reached_by_any(const std::vector<const Series*>& chosen, std::size_t t) {
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < chosen.front()->tasks[t]->verdicts.total(); ++i) {
    n += std::any_of(chosen.begin(), chosen.end(), [&](const Series* s) {
      return s->tasks[t]->verdicts.reached(static_cast<std::size_t>(i));
    });
  }
  return n;
}

/// The worst case of the clean images and all attacks at one radius, task by task. Fills rows and
/// averages.
void add_worst_case(const std::vector<Series>& all, double eps_pixels, json& record) {
  std::vector<const Series*> chosen;
  for (const Series& s : all) {
    if (!s.white_box && (s.eps_pixels == eps_pixels || s.eps_pixels == 0)) chosen.push_back(&s);
  }
  std::vector<eval::Counts> counts, reached;
  const bool targeted = is_targeted(*all.front().tasks.front());
  for (std::size_t t = 0; t < all.front().tasks.size(); ++t) {
    std::vector<eval::Survivors> lists;
    json names = json::array();
    for (const Series* s : chosen) {
      lists.push_back({s->asked, eps_pixels, right(s->tasks[t]->verdicts)});
      if (s->eps_pixels > 0) names.push_back(s->tasks[t]->attack);
    }
    const std::vector<bool> left = eval::worst_case(lists);
    counts.push_back(
        {std::count(left.begin(), left.end(), true), static_cast<std::int64_t>(left.size())});
    json row = score(*all.front().tasks[t], eps_pixels, counts.back());
    reached.push_back({reached_by_any(chosen, t), counts.back().total});
    add_success(row, targeted, reached.back());
    row["attacks"] = std::move(names);
    record["worst_case"].push_back(std::move(row));
  }
  json mean = average("worst case", eps_pixels, counts);
  if (targeted) add_mean_success(mean, reached);
  record["averages"].push_back(std::move(mean));
}

/// What AutoAttack's Square broke that its attacks before Square had left; nothing if it runs none.
std::optional<eval::Finding> check_parts(const Series& series) {
  eval::Survivors before{.eps_pixels = series.eps_pixels}, square = before;
  for (const Measurement* m : series.tasks) {
    const auto& parts = m->verdicts.parts;
    const auto found = std::find_if(parts.begin(), parts.end(),
                                    [](const auto& part) { return is_square(part.name); });
    if (found == parts.end() || found == parts.begin()) return {};
    const auto at = static_cast<std::int64_t>(found - parts.begin());
    before.attack = parts.front().name;
    for (std::int64_t p = 1; p < at; ++p)
      before.attack += ", " + parts[static_cast<std::size_t>(p)].name;
    square.attack = text(found->name, " in ", series.attack);
    const std::vector<bool> whole = right(m->verdicts);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      const std::int64_t by = m->verdicts.broken_by[i];
      before.right.push_back(whole[i] || by >= at);
      square.right.push_back(by != at);
    }
  }
  return eval::check_black_box({&before, 1}, square);
}

void add_black_box_checks(const std::vector<Series>& all, double eps_pixels, json& checks) {
  std::vector<eval::Survivors> white_box, black_box;
  for (const Series& s : all) {
    if (s.eps_pixels != eps_pixels || s.white_box) continue;
    if (const auto inside = check_parts(s)) checks.push_back(finding_json(*inside, eps_pixels));
    (is_square(s.asked) ? black_box : white_box).push_back(s.survivors());
  }
  // An image that is misclassified as it is says nothing about gradients.
  if (white_box.empty()) return;
  for (const Series& s : all) {
    if (s.eps_pixels > 0) continue;
    const std::vector<bool> clean = s.survivors().right;
    for (std::size_t i = 0; i < clean.size(); ++i)
      white_box.front().right[i] = white_box.front().right[i] && clean[i];
  }
  for (const eval::Survivors& each : black_box)
    checks.push_back(finding_json(eval::check_black_box(white_box, each), eps_pixels));
}

/// Every attack against itself at other radii, the clean images being radius 0.
void add_radius_checks(const std::vector<Series>& all, json& checks) {
  std::vector<std::string> done;
  for (const Series& first : all) {
    if (first.eps_pixels == 0 || first.white_box ||
        std::find(done.begin(), done.end(), first.asked) != done.end())
      continue;
    done.push_back(first.asked);
    std::vector<eval::Survivors> radii;
    for (const Series& s : all) {
      if (!s.white_box && (s.eps_pixels == 0 || s.asked == first.asked))
        radii.push_back(s.survivors());
    }
    checks.push_back(finding_json(eval::check_accuracy_falls(radii), 0));
  }
}

/// Every attack of several numbers of steps against itself.
void add_steps_checks(const std::vector<Series>& all, json& checks) {
  std::vector<std::pair<std::string, double>> done;
  for (const Series& first : all) {
    const std::pair<std::string, double> key(first.family, first.eps_pixels);
    if (first.steps == 0 || first.white_box ||
        std::find(done.begin(), done.end(), key) != done.end())
      continue;
    done.push_back(key);
    std::vector<eval::Survivors> attacks;
    for (const Series& s : all) {
      if (!s.white_box && s.steps > 0 && s.family == first.family &&
          s.eps_pixels == first.eps_pixels)
        attacks.push_back(s.survivors());
    }
    if (attacks.size() > 1)
      checks.push_back(finding_json(eval::check_steps(attacks), first.eps_pixels));
  }
}

/// What was seen while the attacks ran. Examples for another network are the last iterates on
/// purpose, so there only the white-box attacks are looked at.
void add_watched_checks(const std::vector<Series>& all, json& checks) {
  for (const Series& s : all) {
    eval::Observed sum;
    bool seen = false;
    for (const Measurement* m : s.tasks) {
      if (!m->verdicts.observed) continue;
      seen = true;
      sum.silent_successes += m->verdicts.observed->silent_successes;
      sum.rise += m->verdicts.observed->rise;
      sum.late_rise += m->verdicts.observed->late_rise;
      sum.passes = std::max(sum.passes, m->verdicts.observed->passes);
    }
    if (!seen) continue;
    const bool targeted = is_targeted(*s.tasks.front());
    checks.push_back(finding_json(
        eval::check_silent_success(s.attack, s.eps_pixels, sum.silent_successes, targeted),
        s.eps_pixels));
    checks.push_back(finding_json(eval::check_still_rising(s.attack, s.eps_pixels, sum, targeted),
                                  s.eps_pixels));
  }
}

/// Transfer against the same attack on the network itself.
void add_transfer_checks(const std::vector<Series>& all, json& checks) {
  for (const Series& white : all) {
    if (!white.white_box) continue;
    for (const Series& s : all) {
      if (s.white_box || s.asked != white.asked || s.eps_pixels != white.eps_pixels) continue;
      eval::Survivors transferred = s.survivors();
      transferred.attack += " of another network";
      checks.push_back(
          finding_json(eval::check_transfer(white.survivors(), transferred), s.eps_pixels));
    }
  }
}

/// Accuracy over what the curve varies, one line an attack and radius.
json curve_json(const std::vector<Series>& all, const std::string& curve) {
  json points = json::array();
  for (const Series& s : all) {
    if (s.eps_pixels == 0 || s.white_box) continue;
    json point = average(s);
    const Measurement& m = *s.tasks.front();
    if (curve == "eps") point["x"] = s.eps_pixels;
    if (curve == "steps") point["x"] = s.steps;
    if (curve == "step-size") point["x"] = m.step_share * s.eps_pixels;
    point["family"] = curve == "step-size" ? s.asked.substr(0, s.asked.find(' ')) : s.family;
    points.push_back(std::move(point));
  }
  return {{"over", curve}, {"points", points}};
}

}  // namespace

json finding_json(const eval::Finding& finding, double eps_pixels, std::int64_t task) {
  json result = {{"check", finding.check},
                 {"raised", finding.raised},
                 {"images", finding.images},
                 {"message", finding.message}};
  if (eps_pixels > 0) result["eps_pixels"] = eps_pixels;
  if (task > 0) result["task"] = task;
  return result;
}

json evaluation_record(const std::vector<attack::ThreatModel>& threats,
                       const std::vector<Measurement>& measurements, const std::string& protocol,
                       const std::string& curve) {
  json record = {{"protocol", protocol},         {"threat_models", json::array()},
                 {"evaluations", json::array()}, {"worst_case", json::array()},
                 {"averages", json::array()},    {"checks", json::array()},
                 {"verdicts", json::array()}};
  for (const Measurement& m : measurements) {
    if (!m.listed) continue;
    record["evaluations"].push_back(evaluation_row(m));
    record["verdicts"].push_back(verdict_row(m));
  }
  const std::vector<Series> all = series_of(measurements);
  for (const Series& s : all) {
    if (s.listed) record["averages"].push_back(average(s));
  }
  const bool attacked =
      std::any_of(all.begin(), all.end(), [](const Series& s) { return s.eps_pixels > 0; });
  const bool targeted = !measurements.empty() && is_targeted(measurements.front());
  if (targeted) record["protocol"] = protocol + "-targeted";
  for (const attack::ThreatModel& threat : threats) {
    record["threat_models"].push_back(threat_json(threat));
    if (!attacked) continue;
    add_worst_case(all, threat.eps_pixels, record);
    if (!targeted) add_black_box_checks(all, threat.eps_pixels, record["checks"]);
  }
  // An attack that is sent to a class need not break what another one breaks, nor more with more
  // steps or a larger radius: these compare accuracies. As published, clean images lie outside of
  // what the network was shown.
  const bool comparable = std::none_of(threats.begin(), threats.end(),
                                       [](const auto& threat) { return threat.as_published; });
  if (!targeted && comparable) {
    add_radius_checks(all, record["checks"]);
    add_steps_checks(all, record["checks"]);
  }
  add_watched_checks(all, record["checks"]);
  add_transfer_checks(all, record["checks"]);
  if (!curve.empty()) record["curve"] = curve_json(all, curve);
  if (threats.size() == 1) {
    record["threat_model"] = record["threat_models"][0];
    for (const Series& s : all) {
      if (s.listed) record["means"][s.attack] = average(s).at("accuracy");
    }
  }
  return record;
}

}  // namespace cmat::continual
