// What is fuzzed: every function that reads bytes from outside. A target is one file in this folder
// and one line in targets.cpp.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cmat::fuzz {

struct Target {
  std::string name;
  /// Parses the input. May throw cmat::Error, in one line; whatever else happens is a defect.
  std::function<void(std::string_view input)> run;
  /// Small good inputs that are easier made than kept; further ones lie in corpus/NAME/.
  std::vector<std::string> seeds = {};
  /// Words of the format, which mutations put in.
  std::vector<std::string> words = {};
  bool is_json = false;  ///< mutations also work on the parsed value
};

/// Made anew at each call, so that nothing is set up for targets that do not run.
std::vector<Target> all_targets();

std::vector<Target> archive_targets();
std::vector<Target> cifar_targets();
std::vector<Target> config_targets();
std::vector<Target> idx_targets();
std::vector<Target> picture_targets();
std::vector<Target> records_targets();
std::vector<Target> run_state_targets();
std::vector<Target> tensor_file_targets();

}  // namespace cmat::fuzz
