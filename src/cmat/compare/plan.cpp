#include "cmat/compare/plan.h"

#include <algorithm>
#include <set>

#include "cmat/core/config.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"

namespace cmat::compare {
namespace {

/// A name that is to be a folder's.
void check_name(const std::string& key, const std::string& name) {
  const bool fine = !name.empty() && name.size() <= 60 &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return (std::isalnum(c) != 0) || c == '-' || c == '_' || c == '+';
                    });
  if (!fine)
    usage_error(key, " is \"", name, "\", but must be a name of letters, digits, -, _ and +");
}

struct Common {
  std::vector<std::string> set, overrides, orders;
  std::vector<std::int64_t> seeds;
  std::string protocol;
};

/// `source`: the changes to the config for the run before it, if any.
std::vector<PlannedRun> planned_runs(const Row& row, const Common& common,
                                     const std::vector<std::string>& set,
                                     const std::vector<std::string>& source,
                                     const std::vector<std::int64_t>& seeds) {
  std::vector<PlannedRun> runs;
  for (const std::int64_t seed : seeds) {
    for (const std::string& order : common.orders) {
      const auto overrides = [&](const std::vector<std::string>& own) {
        std::vector<std::string> all = common.set;
        all.insert(all.end(), own.begin(), own.end());
        all.push_back(text("seed=", seed));
        if (!order.empty()) all.push_back("stream.order=" + order);
        all.insert(all.end(), common.overrides.begin(), common.overrides.end());
        return all;
      };
      runs.push_back({text(row.name, "-s", seed, order.empty() ? "" : "-" + order), seed, order,
                      overrides(set),
                      source.empty() ? std::vector<std::string>{} : overrides(source)});
    }
  }
  return runs;
}

void check_seeds(const std::string& key, const std::vector<std::int64_t>& seeds) {
  if (seeds.empty()) usage_error(key, " is empty, but a row needs at least one seed");
  if (std::set<std::int64_t>(seeds.begin(), seeds.end()).size() < seeds.size())
    usage_error(key, " has a seed twice, which would count one run as two");
}

/// A row with a source begins with its weights and with no others.
void check_initial_weights_are_free(const std::string& prefix, const PlannedRun& run) {
  for (const std::string& change : run.overrides) {
    for (const char* key : {"network.init=", "network.file=", "network.run="}) {
      if (change.starts_with(key))
        usage_error(prefix, "source says what weights the row begins with, and so does \"", change,
                    "\": leave one of them out");
    }
  }
}

Row read_row(Config& config, std::int64_t index, const Common& common) {
  const std::string prefix = text("row.", index, ".");
  Row row;
  row.name = config.required_string(prefix + "name");
  check_name(prefix + "name", row.name);
  row.label = config.string(prefix + "label", row.name);
  row.protocol = config.string(prefix + "protocol", common.protocol);
  row.group = config.string(prefix + "group", row.protocol);
  row.note = config.string(prefix + "note", "");
  row.floor = config.boolean(prefix + "floor", false);
  row.own_budget = config.boolean(prefix + "own_budget", false);
  row.published = {config.string(prefix + "published", ""),
                   config.string(prefix + "published_note", "")};
  if (!row.published.text.empty() && row.published.note.empty())
    usage_error(prefix, "published needs a ", prefix,
                "published_note that says what that number measured");
  const std::vector<std::string> set = config.strings(prefix + "set", {});
  const std::vector<std::int64_t> seeds = config.integers(prefix + "seeds", common.seeds);
  check_seeds(prefix + "seeds", seeds);
  const std::vector<std::string> source = config.strings(prefix + "source", {});
  row.runs = planned_runs(row, common, set, source, seeds);
  if (!source.empty()) check_initial_weights_are_free(prefix, row.runs.front());
  return row;
}

Question read_question(Config& config, const std::string& key) {
  constexpr Question all[] = {Question::difference, Question::not_worse, Question::equivalent};
  std::vector<std::string> names;
  for (const Question question : all) names.push_back(question_name(question));
  const std::string name = config.string(key, names.front(), names);
  return all[std::find(names.begin(), names.end(), name) - names.begin()];
}

Contrast read_contrast(Config& config, std::int64_t index, const Plan& plan) {
  const std::string prefix = text("contrast.", index, ".");
  Contrast c{config.required_string(prefix + "a"), config.required_string(prefix + "b"),
             config.required_string(prefix + "attack", plan.attacks)};
  c.question = read_question(config, prefix + "question");
  const Row &a = plan.row(c.a), &b = plan.row(c.b);
  if (&a == &b) usage_error(prefix, "a and b are the same row, \"", c.a, "\"");
  if (a.group != b.group || a.protocol != b.protocol)
    usage_error(
        prefix, "compares \"", c.a, "\" with \"", c.b,
        "\", which are measured under different protocols: their numbers cannot be compared");
  return c;
}

/// The rows of one table have to be measured alike.
void check_groups(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    for (const Row& other : rows) {
      if (row.group == other.group && row.protocol != other.protocol)
        usage_error("rows \"", row.name, "\" (", row.protocol, ") and \"", other.name, "\" (",
                    other.protocol, ") are both in the table \"", row.group,
                    "\": two protocols cannot share a table; give one of them another group");
      if (&row != &other && row.name == other.name)
        usage_error("two rows are called \"", row.name, "\"");
    }
  }
}

Common read_common(Config& config, const std::vector<std::string>& overrides) {
  Common common;
  common.set = config.strings("set", {});
  common.overrides = overrides;
  common.seeds = config.integers("seeds", {1});
  check_seeds("seeds", common.seeds);
  common.orders = config.strings("orders", {""});
  if (common.orders.empty())
    usage_error("orders is empty; leave it out for the config's own order");
  common.protocol = config.string("evaluation.protocol", "task-aware");
  return common;
}

}  // namespace

std::string question_name(Question question) {
  switch (question) {
    case Question::not_worse:
      return "not-worse";
    case Question::equivalent:
      return "equivalent";
    default:
      return "difference";
  }
}

const Row& Plan::row(const std::string& wanted) const {
  std::vector<std::string> names;
  for (const Row& r : rows) {
    if (r.name == wanted) return r;
    names.push_back(r.name);
  }
  const std::string close = nearest(wanted, names);
  usage_error("there is no row \"", wanted, "\"", close.empty() ? "" : "; did you mean " + close,
              "?");
}

Plan load_plan(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  Config config = Config::load(file);
  Plan plan;
  plan.name = config.string("name", file.stem().string());
  check_name("name", plan.name);
  plan.base = file.parent_path() / config.required_string("base");
  if (!std::filesystem::exists(plan.base))
    usage_error("base in ", file.string(), " names ", plan.base.string(), ", which is not there");
  plan.base_sha256 = sha256_hex_of_file(plan.base);
  const Common common = read_common(config, overrides);
  plan.attacks = config.strings("evaluation.attacks", {"clean", "pgd20"});
  if (plan.attacks.empty()) usage_error("evaluation.attacks is empty");
  plan.limit = config.integer("evaluation.limit", 0, 0, 1'000'000'000);
  plan.margin = config.number("statistics.margin", 2.0, 0.1, 50) / 100;
  plan.level = config.number("statistics.level", plan.level, 0.0001, 0.5);
  plan.resamples = config.integer("statistics.resamples", plan.resamples, 100, 10'000'000);
  plan.statistics_seed = config.integer("statistics.seed", 1, 0, 1'000'000'000);
  const std::int64_t rows = config.tables("row");
  if (rows == 0) usage_error("there is no [[row]] in ", file.string());
  for (std::int64_t i = 1; i <= rows; ++i) plan.rows.push_back(read_row(config, i, common));
  check_groups(plan.rows);
  const std::int64_t contrasts = config.tables("contrast");
  for (std::int64_t i = 1; i <= contrasts; ++i)
    plan.contrasts.push_back(read_contrast(config, i, plan));
  config.finish();
  return plan;
}

std::vector<RunIndex> run_order(const Plan& plan) {
  std::vector<RunIndex> order;
  std::size_t longest = 0;
  for (const Row& row : plan.rows) longest = std::max(longest, row.runs.size());
  for (std::size_t run = 0; run < longest; ++run) {
    for (std::size_t row = 0; row < plan.rows.size(); ++row) {
      if (run < plan.rows[row].runs.size()) order.push_back({row, run});
    }
  }
  return order;
}

}  // namespace cmat::compare
