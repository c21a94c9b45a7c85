#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "cmat/core/error.h"
#include "cmat/report/page/figure.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

using Colour = std::array<double, 3>;

// Every quarter of cividis.
constexpr std::array<Colour, 5> heat_stops = {
    {{0, 34, 78}, {65, 77, 107}, {124, 123, 120}, {188, 175, 111}, {254, 232, 56}}};

Colour heat_at(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * (heat_stops.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), heat_stops.size() - 2);
  const double rest = place - static_cast<double>(below);
  Colour colour;
  for (std::size_t c = 0; c < 3; ++c)
    colour[c] = std::round((1 - rest) * heat_stops[below][c] + rest * heat_stops[below + 1][c]);
  return colour;
}

constexpr double heat_text = 12, legend_height = 10;

class HeatDrawing {
 public:
  HeatDrawing(const Figure& figure, const HeatMap& map, double width, Ground ground)
      : figure_(figure), map_(map), canvas_(width, 0, ground), width_(width) {}

  std::string finish() {
    lay_out();
    draw_names();
    for (std::size_t r = 0; r < map_.values.size(); ++r) {
      for (std::size_t c = 0; c < map_.values[r].size(); ++c) draw_cell(r, c);
    }
    draw_scale();
    return canvas_.finish(figure_.title, figure_.caption);
  }

 private:
  static double widest(const std::vector<std::string>& names, double limit) {
    double result = 0;
    for (const std::string& name : names) result = std::max(result, text_width(name, heat_text));
    return std::min(result, limit);
  }

  void lay_out() {
    const auto columns = std::max<std::size_t>(1, map_.columns.size());
    row_names_ = widest(map_.rows, width_ < 500 ? 110 : 200);
    left_ = row_names_ + 10;
    cell_width_ = std::clamp((width_ - left_ - 4) / static_cast<double>(columns), 12.0, 56.0);
    cell_height_ = std::clamp(cell_width_, 20.0, 32.0);
    column_names_ = widest(map_.columns, 120);
    turned_ = column_names_ > cell_width_ - 2;
    top_ = 20 + (turned_ ? column_names_ + 8 : 20);
    bottom_ = top_ + cell_height_ * static_cast<double>(map_.rows.size());
    right_ = left_ + cell_width_ * static_cast<double>(columns);
    canvas_.resize(std::max({right_ + 4, left_ + 150, 200.0}), bottom_ + 58);
  }

  void draw_names() {
    canvas_.text(2, 13, cmat::text("↓ ", map_.row_label, "   → ", map_.column_label), kFaint,
                 heat_text, Anchor::start);
    for (std::size_t r = 0; r < map_.rows.size(); ++r) {
      canvas_.text(left_ - 6, top_ + (static_cast<double>(r) + 0.5) * cell_height_ + 4,
                   fitted(map_.rows[r], row_names_ + 1, heat_text), kInk, heat_text, Anchor::end);
    }
    for (std::size_t c = 0; c < map_.columns.size(); ++c) {
      const double x = left_ + (static_cast<double>(c) + 0.5) * cell_width_;
      const std::string name = fitted(map_.columns[c], column_names_ + 1, heat_text);
      if (turned_) {
        canvas_.text(x + 4, top_ - 5, name, kInk, heat_text, Anchor::start, -90);
      } else {
        canvas_.text(x, top_ - 6, name, kInk, heat_text, Anchor::middle);
      }
    }
  }

  double share(double value) const { return (value - map_.low) / (map_.high - map_.low); }

  void draw_cell(std::size_t r, std::size_t c) {
    const std::optional<double> value = map_.values[r][c];
    if (!value || !std::isfinite(*value)) return;
    const double x = left_ + static_cast<double>(c) * cell_width_;
    const double y = top_ + static_cast<double>(r) * cell_height_;
    const bool labelled = r < map_.labels.size() && c < map_.labels[r].size();
    const std::string label = labelled ? map_.labels[r][c] : fixed(*value, 1);
    canvas_.rect(x + 0.5, y + 0.5, cell_width_ - 1, cell_height_ - 1, heat_colour(share(*value)),
                 cmat::text(map_.row_label, ' ', map_.rows[r], ", ", map_.column_label, ' ',
                            map_.columns[c], ": ", label));
    for (const double size : {12.0, 10.5, 9.0}) {
      if (text_width(label, size) > cell_width_ + 1) continue;
      canvas_.text(x + cell_width_ / 2, y + cell_height_ / 2 + size / 3, label,
                   heat_ink(share(*value)), size, Anchor::middle);
      break;
    }
  }

  void draw_scale() {
    constexpr int pieces = 40;
    const double y = bottom_ + 12, length = 140;
    for (int i = 0; i < pieces; ++i) {
      canvas_.rect(left_ + i * length / pieces, y, length / pieces + 0.3, legend_height,
                   heat_colour((i + 0.5) / pieces), "");
    }
    canvas_.text(left_, y + legend_height + 14, short_number(map_.low), kFaint, 11, Anchor::start);
    canvas_.text(left_ + length, y + legend_height + 14, short_number(map_.high), kFaint, 11,
                 Anchor::end);
    canvas_.text(left_, y + legend_height + 28, map_.value_label, kFaint, 11, Anchor::start);
  }

  const Figure& figure_;
  const HeatMap& map_;
  SvgCanvas canvas_;
  double width_, left_ = 0, right_ = 0, top_ = 0, bottom_ = 0, cell_width_ = 0, cell_height_ = 0;
  double row_names_ = 0, column_names_ = 0;
  bool turned_ = false;
};

}  // namespace

std::string heat_colour(double share) {
  const Colour c = heat_at(share);
  std::array<char, 8> hex;
  std::snprintf(hex.data(), hex.size(), "#%02x%02x%02x", static_cast<unsigned>(c[0]),
                static_cast<unsigned>(c[1]), static_cast<unsigned>(c[2]));
  return hex.data();
}

std::string heat_ink(double share) {
  const Colour c = heat_at(share);
  return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] > 140 ? "#111111" : "#ffffff";
}

std::string svg_of(const Figure& figure, const HeatMap& map, double width, Ground ground) {
  return HeatDrawing(figure, map, width, ground).finish();
}

}  // namespace cmat::report
