// report: the records of a run as `cmat show` reads and prints them.
#include "cmat/report/records.h"

#include <fstream>
#include <iterator>
#include <memory>

#include "cmat/core/files.h"
#include "cmat/report/tables.h"
#include "core/temporary_folder.h"
#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* run_record =
    R"({"format":1,"program":"cmat","threads":1,"status":"finished","seconds":3.5})";
constexpr const char* results_record =
    R"({"format":1,"method":"cmat","tasks":[{"index":1,"name":"a","chance":0.5}]})";

void write(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

void show(const fs::path& folder) {
  const report::Records records = report::read_records(folder);
  report::compare_runs({records, records});
  report::show_matrices(records);
  report::show_run(records);
}

Target target(const std::string& name, const std::string& file) {
  const auto folder = std::make_shared<test::TemporaryFolder>();
  write(*folder / "run.json", run_record);
  write(*folder / "results.json", results_record);
  return {.name = name,
          .run =
              [=](std::string_view input) {
                write(*folder / file, input);
                show(folder->path());
              },
          .words = {"\"format\":1", "null", "true", "[", "]", "{", "}", "-1", "1e308", "1e-400",
                    "18446744073709551615", "\"\\u001b[2J\"", "\"\\ud800\"", "\"task\":", "[[[["},
          .is_json = true};
}

}  // namespace

std::vector<Target> records_targets() {
  const auto folder = std::make_shared<test::TemporaryFolder>();
  const auto events = [=](std::string_view input) {
    write(*folder / "events.jsonl", input);
    report::show_events(report::read_events(folder->path(), 1000));
  };
  return {
      target("run-record", "run.json"),
      target("results", "results.json"),
      {.name = "events", .run = events, .words = {"\n", "{\"event\":", "\"time\":", "[", "null"}}};
}

}  // namespace cmat::fuzz
