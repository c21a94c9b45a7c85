// What cmat eval and cmat attack have in common: lists on the command line, tables, pictures.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/continual/run.h"

namespace cmat::app {

/// "a,b" -> {"a", "b"}; empty parts are left out.
std::vector<std::string> split(const std::string& list);
/// The names of --attack. A usage Error where there is none.
std::vector<std::string> parse_attacks(const std::string& list);
/// The radii of --eps, which are left as they are written; none if the list is empty. A usage Error
/// where it names none all the same.
std::vector<std::string> parse_radii(const std::string& list);
/// Names of all attacks, for --help.
std::string attack_list();

/// The record as tables, and its checks as sentences.
void print_evaluation(const nlohmann::json& results);

/// Draws the examples into an SVG file, or a PNG if the name ends so. A failure if there are none.
void draw_examples(const continual::Evaluation& evaluation, const std::string& path);

}  // namespace cmat::app
