// The golden numbers: read from CMAT_GOLDEN_DIR, or else from tests/golden. Nothing expected is
// written in code, so the same tests can be run against another set of numbers.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace cmat::test {

inline std::filesystem::path source_dir() {
  const char* dir = std::getenv("CMAT_SOURCE_DIR");
  return dir ? dir : ".";
}

inline nlohmann::json golden(const std::string& file) {
  const char* dir = std::getenv("CMAT_GOLDEN_DIR");
  const std::filesystem::path path =
      (dir ? std::filesystem::path(dir) : source_dir() / "tests/golden") / file;
  std::ifstream in(path);
  if (!in) throw std::runtime_error("no golden file " + path.string());
  return nlohmann::json::parse(in);
}

/// {"shape":..,"data":..} as a flat vector.
inline std::vector<double> numbers(const nlohmann::json& array) {
  return array.at("data").get<std::vector<double>>();
}
inline std::vector<std::int64_t> shape(const nlohmann::json& array) {
  return array.at("shape").get<std::vector<std::int64_t>>();
}

}  // namespace cmat::test
