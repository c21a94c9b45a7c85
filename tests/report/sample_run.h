// A run folder made by hand: what docs/run-format.md says, with numbers that are easy to check.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "cmat/core/error.h"
#include "cmat/report/records.h"

namespace cmat::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cmat-report-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The message of the Error that `call` throws; fails the test when it throws none.
template <typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

inline nlohmann::json sample_run_json() {
  return nlohmann::json::parse(R"json({
    "format": 1, "program": "cmat 0.1.0", "libtorch": "2.13.0", "threads": 2, "device": "cpu",
    "instruction_set": "AVX2", "machine": "x86_64, 2 cores, AMD EPYC", "seed": 1,
    "status": "finished", "started": "2026-11-24T12:00:00Z", "seconds": 7383.4})json");
}

inline nlohmann::json evaluation(int after, int task, const char* attack, int correct,
                                 const char* basis) {
  return {{"after", after},     {"task", task},  {"attack", attack},
          {"correct", correct}, {"total", 1000}, {"basis", basis}};
}

/// Two of two tasks learned. Clean: 81.2, then 81.2 and 99.0; attacked: 60.0, then 57.7 and 70.5.
inline nlohmann::json sample_results_json() {
  nlohmann::json results = nlohmann::json::parse(R"json({
    "format": 1, "method": "cmat", "objective": "pgd-at", "network": "resnet8", "width": 1.0,
    "seed": 1, "protocol": "task-aware", "source": "fashion-mnist",
    "threat_model": {"norm": "linf", "eps_pixels": 0.0313725, "eps": "0.0313725 (8/255)"},
    "attacks": [{"name": "clean", "recipe": ""},
                {"name": "pgd20x2", "recipe": "PGD, 20 steps of 2/255, 2 random starts"}],
    "tasks": [{"index": 1, "name": "T-shirt/Shirt", "classes": ["T-shirt", "Shirt"], "chance": 0.5,
               "train": 1600, "validation": 400, "test": 1000},
              {"index": 2, "name": "Bag/Ankle boot", "classes": ["Bag", "Ankle boot", "Coat", "Dress"],
               "chance": 0.25, "train": 1600, "validation": 400, "test": 1000}],
    "matrices": {"clean": [[0.812], [0.812, 0.99]], "pgd20x2": [[0.6], [0.577, 0.705]]},
    "summary": {"clean": {"average": 0.901, "standard_error": 0.0064, "backward_transfer": 0.0,
                          "forgetting": 0.0},
                "pgd20x2": {"average": 0.641, "standard_error": 0.0106,
                            "backward_transfer": -0.023, "forgetting": 0.023}},
    "per_task": [
      {"task": 1, "attack": "clean", "accuracy": 0.812, "interval": [0.7867, 0.8350]},
      {"task": 2, "attack": "clean", "accuracy": 0.99, "interval": [0.9817, 0.9946]},
      {"task": 1, "attack": "pgd20x2", "accuracy": 0.577, "interval": [0.5461, 0.6072]},
      {"task": 2, "attack": "pgd20x2", "accuracy": 0.705, "interval": [0.6760, 0.7324]}],
    "weights": [{"task": 1, "own": 1000, "picked": 0, "older": 0, "free": 4000, "total": 5000},
                {"task": 2, "own": 500, "picked": 750, "older": 1000, "free": 3500, "total": 5000}],
    "bytes": {"values": 20000, "owners": 5000,
              "tasks": [{"task": 1, "picks": 0, "part": 400}, {"task": 2, "picks": 125, "part": 400}],
              "total": 25925}})json");
  results["evaluations"] = {
      evaluation(1, 1, "clean", 812, "measured"),   evaluation(1, 1, "pgd20x2", 600, "measured"),
      evaluation(2, 1, "clean", 812, "identical"),  evaluation(2, 2, "clean", 990, "measured"),
      evaluation(2, 1, "pgd20x2", 577, "measured"), evaluation(2, 2, "pgd20x2", 705, "measured")};
  return results;
}

inline report::Records sample_records(const std::string& folder = "runs/sample") {
  return {folder, sample_run_json(), sample_results_json()};
}

}  // namespace cmat::test
