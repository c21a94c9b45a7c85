#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "cmat/core/error.h"
#include "cmat/report/page/figure.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

constexpr double label_size = 12, tick_length = 4, right_margin = 12, slant = 32;

struct Range {
  double low = 0, high = 1;
};

Range y_range(const Chart& chart) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  const auto take = [&](double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const Series& series : chart.series) {
    for (const Point& p : series.points) {
      take(p.y);
      if (p.low) take(*p.low);
      if (p.high) take(*p.high);
    }
  }
  if (chart.reference) take(*chart.reference);
  if (!(low <= high)) low = 0, high = 1;
  if (chart.y_low) low = *chart.y_low;
  if (chart.y_high) high = *chart.y_high;
  if (high - low < 1e-9) high = low + std::max(1.0, std::abs(low));
  return {low, high};
}

Range x_range(const Chart& chart) {
  if (!chart.categories.empty()) {
    const double edge = chart.bars ? 0.5 : 0.25;
    return {-edge, static_cast<double>(chart.categories.size()) - 1 + edge};
  }
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Series& series : chart.series) {
    for (const Point& p : series.points) low = std::min(low, p.x), high = std::max(high, p.x);
  }
  if (!(low <= high)) return {};
  if (high == low) return chart.log_x ? Range{low / 2, high * 2} : Range{low - 1, high + 1};
  return {low, high};
}

/// One chart, drawn from the outside in: legend, axes, then the data.
class ChartDrawing {
 public:
  ChartDrawing(const Figure& figure, const Chart& chart, double width, Ground ground)
      : figure_(figure), chart_(chart), canvas_(width, 0, ground), width_(width) {
    y_ = y_range(chart);
    x_ = x_range(chart);
    y_ticks_ = nice_ticks(y_.low, y_.high, 5);
    if (!chart.y_high && y_ticks_.back() < y_.high) {
      y_.high += 0.02 * (y_.high - y_.low);
    }
  }

  std::string finish() {
    draw_legend();
    lay_out();
    draw_grid();
    draw_steps();
    chart_.bars ? draw_bars() : draw_lines();
    draw_reference();
    draw_x_axis();
    return canvas_.finish(figure_.title, figure_.caption);
  }

 private:
  double x_of(double x) const {
    double share = (x - x_.low) / (x_.high - x_.low);
    if (chart_.log_x) share = std::log(x / x_.low) / std::log(x_.high / x_.low);
    return left_ + inset_ + share * (right_ - left_ - 2 * inset_);
  }
  double y_of(double y) const {
    return bottom_ -
           (std::clamp(y, y_.low, y_.high) - y_.low) / (y_.high - y_.low) * (bottom_ - top_);
  }

  /// Swatches and names in as many rows as they need, then the label of the y axis.
  void draw_legend() {
    double x = 2, y = 16;
    const bool wanted = chart_.series.size() > 1 || (!chart_.series.empty() && !chart_.bars);
    for (std::size_t i = 0; wanted && i < chart_.series.size(); ++i) {
      const std::string name = fitted(chart_.series[i].name, width_ - 40, label_size);
      const double wide = 26 + text_width(name, label_size) + 14;
      if (x + wide > width_ && x > 2) x = 2, y += 19;
      const int series = static_cast<int>(i);
      if (chart_.bars) {
        canvas_.rect(x + 4, y - 10, 14, 11, kFirstSeries + series, "", opacity(series));
      } else {
        canvas_.line(x, y - 4, x + 22, y - 4, kFirstSeries + series, 2, dash_of(series));
        if (marked()) canvas_.mark(x + 11, y - 4, series);
      }
      canvas_.text(x + 26, y, name, kInk, label_size, Anchor::start);
      x += wide;
    }
    if (!wanted) y -= 16;
    top_ = y + 24;
    canvas_.text(2, y + 17,
                 fitted(chart_.y_label, width_ - (chart_.reference ? 90 : 0), label_size), kFaint,
                 label_size, Anchor::start);
    if (chart_.reference) {
      canvas_.text(width_ - right_margin, y + 17, "– – " + chart_.reference_label, kInk, label_size,
                   Anchor::end);
    }
    top_ += chart_.bars || !chart_.steps.empty() ? 18 : 6;
  }

  void lay_out() {
    double widest = 0;
    for (const double tick : y_ticks_)
      widest = std::max(widest, text_width(short_number(tick), label_size));
    left_ = std::ceil(widest) + tick_length + 6;
    right_ = width_ - right_margin;
    bottom_ = top_ + (width_ < 500 ? 190 : 240);
    inset_ = chart_.bars ? 0 : 8;
    const double slot =
        (right_ - left_) / std::max(1.0, static_cast<double>(chart_.categories.size()));
    double widest_category = 0;
    for (const std::string& c : chart_.categories)
      widest_category = std::max(widest_category, text_width(c, label_size));
    slanted_ = widest_category > slot - 4;
    const double longest = std::min(widest_category, 130.0);
    const double names = slanted_ ? longest * std::sin(slant * M_PI / 180) + 20 : 18;
    x_title_ = bottom_ + names + 18;
    canvas_.resize(width_, x_title_ + (chart_.x_label.empty() ? -10 : 10));
  }

  void draw_grid() {
    for (const double tick : y_ticks_) {
      canvas_.line(left_, y_of(tick), right_, y_of(tick), kGrid, 1);
      canvas_.text(left_ - 6, y_of(tick) + 4, short_number(tick), kFaint, label_size, Anchor::end);
    }
    canvas_.line(left_, bottom_, right_, bottom_, kInk, 1);
  }

  void draw_steps() {
    double free_from = left_;
    for (const auto& [x, name] : chart_.steps) {
      const double at = x_of(x);
      canvas_.line(at, top_ - 4, at, bottom_, kGrid, 1, "3 3");
      const std::string shown = fitted(name, 110, 11);
      if (at < free_from || at + text_width(shown, 11) > width_) continue;
      canvas_.text(at, top_ - 8, shown, kFaint, 11, Anchor::start);
      free_from = at + text_width(shown, 11) + 6;
    }
  }

  double opacity(int series) const { return series < kSeriesColours ? 1 : 0.55; }

  /// Long curves have no marks, which would hide them.
  bool marked() const {
    return std::all_of(chart_.series.begin(), chart_.series.end(),
                       [](const Series& s) { return s.points.size() <= 40; });
  }

  std::string said(const Series& series, const Point& p) const {
    const auto i = static_cast<std::size_t>(std::max(0.0, p.x));
    const std::string where = i < chart_.categories.size()
                                  ? chart_.categories[i]
                                  : cmat::text(chart_.x_label, ' ', short_number(p.x));
    std::string result = cmat::text(series.name, ", ", where, ": ", short_number(p.y));
    if (p.low && p.high)
      result += cmat::text(" [", short_number(*p.low), ", ", short_number(*p.high), "]");
    return result;
  }

  void draw_interval(double x, const Point& p, int paint, double half_width) {
    if (!p.low || !p.high) return;
    canvas_.line(x, y_of(*p.low), x, y_of(*p.high), paint, 1.2);
    for (const double end : {*p.low, *p.high})
      canvas_.line(x - half_width, y_of(end), x + half_width, y_of(end), paint, 1.2);
  }

  void draw_bars() {
    const double slot = (right_ - left_) / static_cast<double>(chart_.categories.size());
    const auto count = static_cast<double>(chart_.series.size());
    const double wide = std::min(56.0, 0.82 * slot / count);
    for (std::size_t i = 0; i < chart_.series.size(); ++i) {
      const int number = static_cast<int>(i);
      for (const Point& p : chart_.series[i].points) {
        if (!std::isfinite(p.y)) continue;
        const double x = x_of(p.x) + (static_cast<double>(i) - count / 2) * wide;
        const double top = y_of(p.y), base = y_of(std::max(0.0, y_.low));
        canvas_.rect(x + 0.5, std::min(top, base), wide - 1, std::abs(base - top),
                     kFirstSeries + number, said(chart_.series[i], p), opacity(number));
        draw_interval(x + wide / 2, p, kInk, std::min(4.0, wide / 4));
        const std::string value = fixed(p.y, 1);
        if (text_width(value, 11) > wide + 2) continue;
        canvas_.text(x + wide / 2, y_of(p.high.value_or(p.y)) - 4, value, kInk, 11, Anchor::middle);
      }
    }
  }

  void draw_lines() {
    for (std::size_t i = 0; i < chart_.series.size(); ++i) {
      const int number = static_cast<int>(i), paint = kFirstSeries + number;
      std::vector<std::pair<double, double>> path;
      const auto finish_path = [&] {
        canvas_.polyline(path, paint, 2, dash_of(number));
        path.clear();
      };
      for (const Point& p : chart_.series[i].points) {
        if (!std::isfinite(p.y)) {
          finish_path();
          continue;
        }
        path.emplace_back(x_of(p.x), y_of(p.y));
        draw_interval(x_of(p.x), p, paint, 3);
      }
      finish_path();
      if (!marked()) continue;
      for (const Point& p : chart_.series[i].points) {
        if (std::isfinite(p.y))
          canvas_.mark(x_of(p.x), y_of(p.y), number, said(chart_.series[i], p));
      }
    }
  }

  void draw_reference() {
    if (!chart_.reference) return;
    const double y = y_of(*chart_.reference);
    canvas_.line(left_, y, right_, y, kInk, 1, "5 4");
  }

  void draw_category(std::size_t i) {
    const double x = x_of(static_cast<double>(i));
    if (slanted_) {
      canvas_.text(x + 3, bottom_ + 16, fitted(chart_.categories[i], 130, label_size), kInk,
                   label_size, Anchor::end, -slant);
    } else {
      canvas_.text(x, bottom_ + 17, chart_.categories[i], kInk, label_size, Anchor::middle);
    }
  }

  void draw_x_axis() {
    double free_from = 0;
    for (std::size_t i = 0; i < chart_.categories.size(); ++i) {
      // Where names are too many, some are left out.
      const double x = x_of(static_cast<double>(i));
      if (slanted_ && x < free_from) continue;
      draw_category(i);
      free_from = x + label_size + 1;
    }
    if (chart_.categories.empty()) {
      for (const double tick : x_ticks()) {
        const std::string value = short_number(tick);
        const double x = x_of(tick), half = text_width(value, label_size) / 2;
        if (x - half < free_from) continue;
        canvas_.line(x, bottom_, x, bottom_ + tick_length, kInk, 1);
        canvas_.text(x, bottom_ + 17, value, kInk, label_size, Anchor::middle);
        free_from = x + half + 4;
      }
    }
    canvas_.text((left_ + right_) / 2, x_title_, fitted(chart_.x_label, width_, label_size), kFaint,
                 label_size, Anchor::middle);
  }

  /// Round numbers; on a logarithmic axis, where these crowd, the places of the data.
  std::vector<double> x_ticks() const {
    if (!chart_.log_x) return nice_ticks(x_.low, x_.high, width_ < 500 ? 4 : 8);
    std::vector<double> ticks;
    for (const Series& series : chart_.series) {
      for (const Point& p : series.points) ticks.push_back(p.x);
    }
    std::sort(ticks.begin(), ticks.end());
    ticks.erase(std::unique(ticks.begin(), ticks.end()), ticks.end());
    return ticks;
  }

  const Figure& figure_;
  const Chart& chart_;
  SvgCanvas canvas_;
  double width_, left_ = 0, right_ = 0, top_ = 0, bottom_ = 0, inset_ = 0, x_title_ = 0;
  bool slanted_ = false;
  Range x_, y_;
  std::vector<double> y_ticks_;
};

}  // namespace

std::vector<double> nice_ticks(double low, double high, int count) {
  if (!std::isfinite(low) || !std::isfinite(high) || !(high > low)) return {low};
  const double rough = (high - low) / std::max(1, count);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double round : {1.0, 2.0, 5.0}) {
    if (round * power >= rough * 0.999) {
      step = round * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double slack = 1e-9 * step;
  for (double k = std::ceil((low - slack) / step); k * step <= high + slack && ticks.size() < 100;
       ++k)
    ticks.push_back(k * step);
  return ticks.empty() ? std::vector<double>{low} : ticks;
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return std::string(kUnknown);
  const double size = std::abs(value);
  const int digits = size >= 100 ? 1 : size >= 1 ? 2 : size >= 0.01 ? 4 : 6;
  std::string result = fixed(value, digits);
  if (result.find('.') != std::string::npos) {
    result.erase(result.find_last_not_of('0') + 1);
    if (result.back() == '.') result.pop_back();
  }
  return result == "-0" ? "0" : result;
}

std::string svg_of(const Figure& figure, const Chart& chart, double width, Ground ground) {
  return ChartDrawing(figure, chart, width, ground).finish();
}

std::string svg_of(const Figure& figure, double width, Ground ground) {
  return std::visit([&](const auto& drawing) { return svg_of(figure, drawing, width, ground); },
                    figure.drawing);
}

}  // namespace cmat::report
