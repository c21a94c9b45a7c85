// One description of a figure, from which the picture, its data and its gnuplot script are made.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cmat/report/page/svg.h"

namespace cmat::report {

struct Point {
  double x = 0, y = 0;
  std::optional<double> low, high;  ///< an interval around y
};

struct Series {
  std::string name;
  std::vector<Point> points;  ///< by rising x
};

/// Bars or lines over an axis.
struct Chart {
  bool bars = false;
  std::string x_label, y_label;  ///< with units: "accuracy, %"
  /// Names of the places 0, 1, ... on the x axis; empty: the axis is of numbers. REQUIRES of bars.
  std::vector<std::string> categories;
  std::vector<Series> series;
  std::optional<double> y_low, y_high;  ///< the axis; else it is fitted
  std::optional<double> reference;      ///< a dashed line across
  std::string reference_label;
  bool log_x = false;
  std::vector<std::pair<double, std::string>> steps;  ///< places of x where something begins
};

/// A matrix as colours and numbers.
struct HeatMap {
  std::string row_label, column_label, value_label;
  std::vector<std::string> rows, columns;
  std::vector<std::vector<std::optional<double>>> values;  ///< the colour; none: left empty
  std::vector<std::vector<std::string>> labels;            ///< what a cell says; empty: the value
  double low = 0, high = 100;                              ///< the ends of the colours
};

struct Figure {
  std::string name;  ///< of its files: letters, digits and "-"
  std::string title, caption;
  std::string command;  ///< what makes the numbers again
  bool small = false;   ///< several stand side by side
  std::variant<Chart, HeatMap> drawing;
};

/// The picture, about `width` units wide (a heat map takes what its cells need).
std::string svg_of(const Figure& figure, double width, Ground ground);
std::string svg_of(const Figure& figure, const Chart& chart, double width, Ground ground);
std::string svg_of(const Figure& figure, const HeatMap& map, double width, Ground ground);

/// Round numbers from `low` to `high`, about `count` of them.
std::vector<double> nice_ticks(double low, double high, int count);
/// As few digits as tell 0.02 from 0.025; "-" where it is not finite.
std::string short_number(double value);

/// Dark blue to yellow (Nunez et al., 2018, "cividis"), the same to people with any colour vision;
/// `share` in [0,1].
std::string heat_colour(double share);
/// White or black, whichever can be read on heat_colour(share).
std::string heat_ink(double share);

}  // namespace cmat::report
