// Runs of configs/tiny.toml, made smaller still, and what their folders hold.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/program.h"
#include "cmat/core/files.h"
#include "core/temporary_folder.h"

namespace cmat::test {

namespace fs = std::filesystem;
using nlohmann::json;

/// Three tasks of a few optimiser steps each, in about a third of a second.
inline Arguments small() {
  return set({"data.synthetic.train_per_class=20", "data.synthetic.test_per_class=10",
              "network.width=0.5", "compact.epochs=2"});
}

/// The arguments of `cmat train configs/tiny.toml --out OUT` with these changes.
inline Arguments train_tiny(const fs::path& out, const Arguments& assignments = {}) {
  const std::string config = environment("CMAT_SOURCE_DIR") + "/configs/tiny.toml";
  return Arguments{"train", config, "--out", out.string(), "--threads", "1"} + small() +
         set(assignments);
}

/// Assignments for a run that grows before its second task and in the middle of tasks.
inline Arguments growing() {
  return {"growth.max_width=2",       "growth.step=0.5",   "growth.min_free=0.67",
          "growth.goals=[1.0]",       "growth.epochs=1",   "method.compaction=progressive",
          "method.targets=[0.3,0.6]", "train.epochs=2",    "compact.epochs=1",
          "repick.epochs=1",          "growth.tolerance=0"};
}

inline void expect_success(const Outcome& outcome) { ASSERT_EQ(outcome.status, 0) << outcome.err; }

/// Runs the training to its end.
inline void train_to_end(const fs::path& out, const Arguments& assignments = {},
                         const Arguments& more = {}) {
  expect_success(run_program(train_tiny(out, assignments) + more));
}

inline json read_json(const fs::path& file) { return json::parse(read_file(file)); }

/// The whole lines of events.jsonl, without the time.
inline std::vector<json> events_of(const fs::path& run) {
  std::vector<json> events;
  if (!fs::exists(run / "events.jsonl")) return events;
  const std::string content = read_file(run / "events.jsonl");
  for (std::size_t begin = 0, end; (end = content.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    events.push_back(json::parse(content.substr(begin, end - begin)));
    events.back().erase("time");
  }
  return events;
}

/// The two runs ended alike, to the bit.
inline void expect_same_end(const fs::path& run, const fs::path& undisturbed) {
  for (const char* name : {"model.safetensors", "results.json", "verdicts.jsonl", "config.toml"}) {
    EXPECT_TRUE(read_file(run / name) == read_file(undisturbed / name)) << name << " differs";
  }
  EXPECT_EQ(events_of(run), events_of(undisturbed));
  EXPECT_EQ(read_json(run / "run.json").at("status"), "finished");
}

}  // namespace cmat::test
