#include "cmat/report/tables.h"

#include <gtest/gtest.h>

#include <sstream>
#include <utility>

#include "cmat/report/layout.h"
#include "cmat/report/wording.h"
#include "report/sample_run.h"

namespace cmat::report {
namespace {

using test::message_of;
using test::sample_records;

std::vector<std::string> lines_of(const std::string& output) {
  std::vector<std::string> lines;
  std::istringstream in(output);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The words of the first line that starts with `start` (after spaces).
std::string line_with(const std::string& output, const std::string& start) {
  for (const std::string& line : lines_of(output)) {
    const std::size_t first = line.find_first_not_of(' ');
    if (first == std::string::npos || line.compare(first, start.size(), start) != 0) continue;
    return wrapped(line, 1000);
  }
  return "(no line starts with " + start + ")";
}

bool contains(const std::string& output, const std::string& part) {
  return output.find(part) != std::string::npos;
}

void expect_fits_the_page(const std::string& output) {
  for (const std::string& line : lines_of(output)) {
    EXPECT_LE(columns(line), kPageWidth) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << "trailing space: " << line;
  }
}

TEST(FormatTable, NumbersToTheRightWordsToTheLeft) {
  EXPECT_EQ(format_table({{"name", "acc"}, {"7", "9.0"}, {"Schöß", "100.0"}, {"x", "-"}}),
            "name     acc\n"
            "-----  -----\n"
            "7        9.0\n"
            "Schöß  100.0\n"
            "x          -\n");
}

TEST(FormatTable, CannotSteerTheTerminal) {
  EXPECT_FALSE(contains(format_table({{"a"}, {"\x1B[2J\n"}}), "\x1B"));
}

TEST(FormatColumns, WhatDoesNotFitGoesOnBelowTheSameKeys) {
  const std::string wide(50, 'w');
  const std::string output = format_columns(
      {{"key", {"k"}}, {wide, {"1"}}, {wide, {"2"}}, {"tied", {"3"}, true}, {"last", {""}}}, 1);
  const auto lines = lines_of(output);
  ASSERT_EQ(lines.size(), 7U);
  EXPECT_EQ(wrapped(lines[2], 99), "k 1");
  EXPECT_EQ(wrapped(lines[6], 99), "k 2 3");
  expect_fits_the_page(output);
}

TEST(ShowRun, ListsWhatTheRunIs) {
  const std::string output = show_run(sample_records());
  EXPECT_EQ(lines_of(output).front(), "Run sample: finished, 2 tasks learned, 2 h 03 min");
  EXPECT_EQ(line_with(output, "method"), "method cmat, objective pgd-at");
  EXPECT_EQ(line_with(output, "threat model"), "threat model Linf, eps 0.0313725 (8/255)");
  EXPECT_EQ(line_with(output, "seed"), "seed 1");
  EXPECT_EQ(line_with(output, "bytes"),
            "bytes 25.9 kB: values 20.0 kB, owners 5.0 kB, tasks' own parts and picks 925 B");
  EXPECT_TRUE(
      contains(output, "pgd20x2: PGD, 20 steps of 2/255, 2 random starts; 1,000 images a task."));
  EXPECT_TRUE(contains(output, "One seed; the intervals speak of test images only."));
  expect_fits_the_page(output);
}

TEST(ShowRun, ListsEveryTask) {
  const std::string output = show_run(sample_records());
  EXPECT_EQ(line_with(output, "1  T-shirt"),
            "1 T-shirt/Shirt 2 50.0 81.2 [78.7, 83.5] 57.7 [54.6, 60.7]");
  EXPECT_EQ(line_with(output, "2  Bag"),
            "2 Bag/Ankle boot 4 25.0 99.0 [98.2, 99.5] 70.5 [67.6, 73.2]");
  EXPECT_TRUE(contains(output, "2  Bag/Ankle boot  10.0    15.0  70.0\n"));
}

TEST(ShowRun, AveragesAndForgetting) {
  const std::string output = show_run(sample_records());
  EXPECT_EQ(line_with(output, "clean  "), "clean 90.1 ± 0.6 37.5 0.0 0 (identical)");
  EXPECT_EQ(line_with(output, "pgd20x2  "), "pgd20x2 64.1 ± 1.1 37.5 -2.3 2.3");
}

TEST(ShowRun, ZeroIsIdenticalOnlyWhenEveryLaterLookWasProven) {
  Records records = sample_records();
  records.results["evaluations"][2]["basis"] = "measured";
  EXPECT_EQ(line_with(show_run(records), "clean  "), "clean 90.1 ± 0.6 37.5 0.0 0.0");
  EXPECT_FALSE(contains(show_run(records), "identical"));
}

TEST(ShowRun, NothingCanBeForgottenAfterOneTask) {
  Records records = sample_records();
  auto& results = records.results;
  results["evaluations"] = {results["evaluations"][0], results["evaluations"][1]};
  results["matrices"] = {{"clean", {{0.812}}}};
  records.run["status"] = "interrupted";
  const std::string output = show_run(records);
  EXPECT_TRUE(contains(output, "Run sample: interrupted, 1 of 2 tasks learned"));
  EXPECT_EQ(line_with(output, "clean  "), "clean 90.1 ± 0.6 50.0 - -");
}

TEST(ShowRun, ARunWithoutResultsIsNoError) {
  Records records = sample_records();
  records.results = nullptr;
  EXPECT_TRUE(contains(show_run(records), "No results yet"));
  EXPECT_TRUE(contains(show_matrices(records), "No accuracy matrices yet"));
  EXPECT_TRUE(contains(show_run({"x", nlohmann::json::object(), nullptr}), "status unknown"));
}

TEST(ShowRun, EveryPartMayBeAbsent) {
  const Records complete = sample_records();
  for (const auto& [key, value] : complete.results.items()) {
    SCOPED_TRACE(key);
    Records records = complete;
    records.results.erase(key);
    EXPECT_NO_THROW(show_run(records));
    EXPECT_NO_THROW(show_matrices(records));
    EXPECT_NO_THROW(compare_runs({records, complete}));
    records.results[key] = nullptr;
    EXPECT_NO_THROW(show_run(records));
  }
}

TEST(ShowRun, WithoutScoresAccuracyComesFromTheCounts) {
  Records records = sample_records();
  records.results.erase("per_task");
  EXPECT_EQ(line_with(show_run(records), "1  T-shirt"), "1 T-shirt/Shirt 2 50.0 81.2 - 57.7 -");
}

TEST(ShowRun, SaysWhereATypeIsWrong) {
  Records records = sample_records();
  records.results["summary"]["clean"]["average"] = "high";
  EXPECT_EQ(message_of([&] { show_run(records); }),
            "results.json of sample: summary.clean.average should be a number, but is string; "
            "the file is damaged or was edited");
  records = sample_records();
  records.results["tasks"][1]["name"] = 5;
  EXPECT_TRUE(contains(message_of([&] { show_run(records); }), "tasks[1].name should be a string"));
  records = sample_records();
  records.results["evaluations"] = "none";
  EXPECT_TRUE(contains(message_of([&] { show_run(records); }), "evaluations should be a list"));
  records = sample_records();
  records.run["seconds"] = nlohmann::json::array();
  EXPECT_TRUE(contains(message_of([&] { show_run(records); }), "run.json of sample: seconds"));
}

TEST(ShowRun, ManyTasksAndAttacksStayWithinThePage) {
  Records records = sample_records();
  records.results["attacks"].push_back(
      {{"name", "AA-standard[C=5,t=4]"}, {"recipe", "AutoAttack"}});
  for (int task = 3; task <= 20; ++task) {
    records.results["tasks"].push_back({{"name", std::string(60, 'n')}, {"chance", 0.2}});
    records.results["matrices"]["clean"].push_back(
        std::vector<double>(static_cast<std::size_t>(task), 0.5));
  }
  expect_fits_the_page(show_run(records));
  expect_fits_the_page(show_matrices(records));
}

TEST(ShowMatrices, LowerTriangleWithProvenEntriesMarked) {
  const std::string output = show_matrices(sample_records());
  EXPECT_TRUE(contains(output,
                       "after task     1      2\n"
                       "----------  -----  -----\n"
                       "         1  81.2\n"
                       "         2  81.2=  99.0\n"));
  EXPECT_TRUE(contains(output,
                       "         1  60.0\n"
                       "         2  57.7  70.5\n"));
}

TEST(CompareRuns, OneRowARunAndChanceBelow) {
  Records other = sample_records("runs/other");
  other.results["method"] = "finetune";
  other.results["summary"]["clean"]["forgetting"] = 0.123;
  other.results["evaluations"][2]["basis"] = "measured";
  Records fresh = sample_records("runs/fresh");
  fresh.results = nullptr;
  const std::string output = compare_runs({sample_records(), other, fresh});
  EXPECT_EQ(line_with(output, "sample"), "sample cmat pgd-at resnet8 2 1 90.1 ± 0.6 64.1 ± 1.1");
  EXPECT_EQ(line_with(output, "other"), "other finetune pgd-at resnet8 2 1 90.1 ± 0.6 64.1 ± 1.1");
  EXPECT_EQ(line_with(output, "fresh"), "fresh - - - 0 1 - -");
  EXPECT_EQ(line_with(output, "chance"), "chance 37.5 37.5");
  const std::string lost = output.substr(output.find("lost clean"));
  EXPECT_EQ(line_with(lost, "sample"), "sample 0 (identical) 2.3 25.9 kB");
  EXPECT_EQ(line_with(lost, "other"), "other 12.3 2.3 25.9 kB");
  EXPECT_TRUE(contains(output, "One seed a run"));
  expect_fits_the_page(output);
}

TEST(CompareRuns, WhatCannotBeComparedIsNotPutIntoOneTable) {
  const std::vector<std::pair<std::string, nlohmann::json>> changes = {
      {"/protocol", "class-incremental"},
      {"/source", "cifar100"},
      {"/threat_model/eps", "0.0156863 (4/255)"},
      {"/attacks/1/recipe", "PGD, 20 steps of 1/255, 1 random start"},
      {"/tasks/0/name", "Trousers/Dress"}};
  for (const auto& [where, value] : changes) {
    SCOPED_TRACE(where);
    Records other = sample_records("runs/other");
    other.results[nlohmann::json::json_pointer(where)] = value;
    const std::string output = compare_runs({sample_records(), other});
    EXPECT_TRUE(contains(output, "These runs differ in"));
    EXPECT_FALSE(contains(compare_runs({sample_records(), sample_records("b")}), "These runs"));
  }
}

TEST(CompareRuns, FoldersOfTheSameNameAreToldApartByTheirPaths) {
  const std::string output = compare_runs({sample_records("a/run"), sample_records("b/run")});
  EXPECT_TRUE(contains(output, "a/run"));
  EXPECT_TRUE(contains(output, "b/run"));
}

TEST(ShowEvents, TimeFirstThenTheRest) {
  EXPECT_EQ(show_events({{{"event", "epoch"}, {"time", "12:00"}, {"task", 2}, {"loss", 1.23456789}},
                         {{"event", "stage"}, {"stage", {{"kind", "train"}, {"epochs", 4}}}}}),
            "12:00 epoch task 2 loss=1.235\n"
            "stage stage=(epochs 4, kind train)\n");
}

}  // namespace
}  // namespace cmat::report
