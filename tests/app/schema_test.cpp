// docs/results.schema.json against what runs really write.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  return type == "number" && value.is_number();
}

/// The first place where a value breaks the schema; "" where it keeps it. Knows the words that the
/// schema uses; another one is a break of its own.
std::string first_break(const json& value, const json& schema, const std::string& place) {
  for (const auto& [word, wanted] : schema.items()) {
    if (word == "$schema" || word == "title" || word == "description") continue;
    bool fits = true;
    std::string inner;
    const auto look = [&](const json& part, const json& rule, const std::string& where) {
      if (inner.empty()) inner = first_break(part, rule, where);
    };
    if (word == "type") {
      fits = has_type(value, wanted.get<std::string>());
    } else if (word == "const") {
      fits = value == wanted;
    } else if (word == "enum") {
      fits = std::find(wanted.begin(), wanted.end(), value) != wanted.end();
    } else if (word == "minimum") {
      fits = value >= wanted;
    } else if (word == "maximum") {
      fits = value <= wanted;
    } else if (word == "required") {
      for (const json& key : wanted) fits = fits && value.contains(key.get<std::string>());
    } else if (word == "properties") {
      for (const auto& [key, rule] : wanted.items()) {
        if (value.contains(key)) look(value.at(key), rule, place + "." + key);
      }
    } else if (word == "additionalProperties") {
      for (const auto& [key, part] : value.items()) look(part, wanted, place + "." + key);
    } else if (word == "items") {
      for (const json& part : value) look(part, wanted, place + "[]");
    } else {
      return "the schema uses " + word;
    }
    if (!fits) return place + " breaks " + word;
    if (!inner.empty()) return inner;
  }
  return "";
}

json results_schema() {
  return read_json(fs::path(environment("CMAT_SOURCE_DIR")) / "docs/results.schema.json");
}

/// Every field of the record is in the schema: one that is added must be described.
void expect_described(const json& value, const json& schema, const std::string& place) {
  if (value.is_object() && schema.contains("properties")) {
    for (const auto& [key, part] : value.items()) {
      EXPECT_TRUE(schema.at("properties").contains(key)) << place << "." << key;
      if (schema.at("properties").contains(key))
        expect_described(part, schema.at("properties").at(key), place + "." + key);
    }
  } else if (value.is_array() && schema.contains("items") && !value.empty()) {
    expect_described(value.front(), schema.at("items"), place + "[]");
  }
}

TEST(ResultsSchema, FinishedAndUnfinishedRunsKeepIt) {
  const json schema = results_schema();
  for (const std::string method : {"cmat", "individual", "finetune"}) {
    SCOPED_TRACE(method);
    const TemporaryFolder folder;
    train_to_end(folder / "run", {"method.name=" + method});
    const json results = read_json(folder / "run" / "results.json");
    EXPECT_EQ(first_break(results, schema, "results"), "");
    expect_described(results, schema, "results");
  }
  const TemporaryFolder folder;
  kill_in_task_2(folder / "run", {});
  EXPECT_EQ(first_break(read_json(folder / "run" / "results.json"), schema, "results"), "");
}

TEST(ResultsSchema, SeesWhatIsWrong) {
  const TemporaryFolder folder;
  train_to_end(folder / "run");
  const json schema = results_schema(), results = read_json(folder / "run" / "results.json");
  json changed = results;
  changed["format"] = 2;
  EXPECT_EQ(first_break(changed, schema, "results"), "results.format breaks const");
  changed = results;
  changed["tasks"][1].erase("name");
  EXPECT_EQ(first_break(changed, schema, "results"), "results.tasks[] breaks required");
  changed = results;
  changed["summary"]["clean"]["average"] = 1.5;
  EXPECT_EQ(first_break(changed, schema, "results"),
            "results.summary.clean.average breaks maximum");
}

TEST(Follow, PrintsEventsUntilTheRunEnds) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program training(train_tiny(run, {"compact.epochs=20"}));
  while (training.running() && !fs::exists(run / "run.json"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const Outcome outcome = run_program({"show", run.string(), "--follow"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(training.wait().status, 0);
  const std::vector<json> events = events_of(run);
  EXPECT_GT(events.size(), 60u);
  std::size_t epochs = 0;
  for (std::size_t at = 0; (at = outcome.out.find("Z epoch ", at)) != std::string::npos; ++at)
    ++epochs;
  EXPECT_EQ(epochs,
            static_cast<std::size_t>(std::count_if(events.begin(), events.end(), [](const json& e) {
              return e.at("event") == "epoch";
            })));
  EXPECT_NE(outcome.out.find("the run is finished\n"), std::string::npos) << outcome.out;
}

TEST(Follow, EndsWhereTheWriterWasKilled) {
  const TemporaryFolder folder;
  kill_in_task_2(folder / "run", {});
  const Outcome outcome = run_program({"show", (folder / "run").string(), "--follow"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("no process writes to this run\n"), std::string::npos);
}

TEST(Report, OfARealRun) {
  const TemporaryFolder folder;
  train_to_end(folder / "run");
  const Outcome outcome =
      run_program({"report", (folder / "run").string(), "-o", (folder / "out").string(), "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json written = json::parse(outcome.out);
  EXPECT_TRUE(fs::exists(written.at("index").get<std::string>()));
  // What model.safetensors says of owners is what cmat inspect counts.
  const json inspection =
      json::parse(run_program({"inspect", (folder / "run").string(), "--json"}).out);
  const json& layer = inspection.at("layers").at(0);
  const double own =
      100.0 * layer.at("own").at(0).get<double>() / layer.at("weights").get<double>();
  char expected[64];
  std::snprintf(expected, sizeof expected, "%s,%.1f,", layer.at("name").get<std::string>().c_str(),
                own);
  std::string table = read_file(folder / "out" / "tables" / "owners.csv");
  const std::size_t suffix = std::string(expected).find(".weight,");
  std::string line = expected;
  if (suffix != std::string::npos) line.erase(suffix, 7);
  EXPECT_NE(table.find(line), std::string::npos) << table << line;
}

}  // namespace
}  // namespace cmat::test
