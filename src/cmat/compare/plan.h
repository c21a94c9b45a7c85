// A comparison as its config file plans it: rows (a method with an objective), each trained once
// for every seed and task order, and the contrasts that will be tested, named before anything has
// run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cmat::compare {

/// One training run of a row.
struct PlannedRun {
  std::string name;  ///< its folder under OUT/rows: "trades-s2", or "trades-s2-random"
  std::int64_t seed = 0;
  std::string order;                   ///< stream.order of the run; empty: the base config's
  std::vector<std::string> overrides;  ///< "key=value", in the order in which they apply
  /// Likewise, of the run whose weights it begins with (source_folder()); empty: none.
  std::vector<std::string> source;
};

/// What a paper says about a row, and what that number really measured.
struct Published {
  std::string text, note;
};

struct Row {
  std::string name, label;
  std::string group;     ///< the table it stands in
  std::string protocol;  ///< of its evaluation
  std::string note;
  bool floor = false;  ///< its accuracies are the floor of its group, the best of several floors
  bool own_budget = false;  ///< need not have cost as much training as the others of its group
  Published published;
  std::vector<PlannedRun> runs;
};

enum class Question { difference, not_worse, equivalent };
/// As configs and records call it: "difference", "not-worse", "equivalent".
std::string question_name(Question question);

/// "a - b" in accuracy under one attack.
struct Contrast {
  std::string a, b, attack;
  Question question = Question::difference;
};

struct Plan {
  std::string name;
  std::filesystem::path base;  ///< the config that every row starts from
  std::string base_sha256;     ///< of its bytes when the plan was loaded, hexadecimal
  std::vector<std::string> attacks;
  std::int64_t limit = 0;  ///< test images a task; 0: all
  std::vector<Row> rows;
  std::vector<Contrast> contrasts;
  double margin = 0.02;  ///< what counts as "not worse" and "equivalent", a share
  double level = 0.05;
  std::int64_t resamples = 10000;
  std::int64_t statistics_seed = 1;

  const Row& row(const std::string& name) const;
};

/// Reads a file like configs/compare-quick.toml. `overrides` ("key=value") apply to every row after
/// its own. Throws a usage Error that names the key and what is wrong with it.
Plan load_plan(const std::filesystem::path& file, const std::vector<std::string>& overrides);

/// All runs of the plan as (row, run) pairs of indices, in the order in which they are to be done:
/// first seeds of all rows first, so that an unfinished comparison compares something.
struct RunIndex {
  std::size_t row = 0, run = 0;
};
std::vector<RunIndex> run_order(const Plan& plan);

}  // namespace cmat::compare
