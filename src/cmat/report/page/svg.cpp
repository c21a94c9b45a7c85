#include "cmat/report/page/svg.h"

#include <array>
#include <cmath>

#include "cmat/core/error.h"
#include "cmat/report/embed.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

struct Shade {
  const char *name, *paper, *dark;
};

constexpr std::array<Shade, kFirstSeries + kSeriesColours> shades = {
    {{"--ink", "#1f2328", "#e6edf3"},
     {"--faint", "#59636e", "#9aa4af"},
     {"--grid", "#d1d9e0", "#3d444d"},
     {"--paper", "#ffffff", "#14181d"},
     {"--s0", "#0072b2", "#4aa8e0"},
     {"--s1", "#d55e00", "#f0803c"},
     {"--s2", "#009e73", "#2fc79b"},
     {"--s3", "#cc79a7", "#e39cc4"},
     {"--s4", "#b07d00", "#e6b422"},
     {"--s5", "#4b5563", "#b8c0cc"}}};

const Shade& shade(int paint) {
  const int index =
      paint < kFirstSeries ? paint : kFirstSeries + (paint - kFirstSeries) % kSeriesColours;
  return shades[static_cast<std::size_t>(index)];
}

constexpr double mark_radius = 3.6;

}  // namespace

std::string paper_colour(int paint) { return shade(paint).paper; }
std::string dark_colour(int paint) { return shade(paint).dark; }
std::string variable_of(int paint) { return shade(paint).name; }

std::string_view dash_of(int series) {
  constexpr std::array<std::string_view, 5> dashes = {"", "6 3", "2 3", "8 3 2 3", "1 2"};
  return dashes[static_cast<std::size_t>(series) % dashes.size()];
}

std::string svg_number(double value) {
  std::string digits = fixed(value, 2);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

double text_width(std::string_view value, double size) {
  return 0.57 * size * static_cast<double>(columns(value));
}

std::string fitted(std::string_view value, double width, double size) {
  return clipped(value, static_cast<std::size_t>(std::max(1.0, width / (0.57 * size))));
}

std::string SvgCanvas::painted(std::string_view property, int paint) const {
  if (ground_ == Ground::paper) return cmat::text(property, "=\"", paper_colour(paint), "\"");
  return cmat::text("style=\"", property, ":var(", variable_of(paint), ")\"");
}

void SvgCanvas::line(double x1, double y1, double x2, double y2, int paint, double width,
                     std::string_view dash) {
  body_ << "<line x1=\"" << svg_number(x1) << "\" y1=\"" << svg_number(y1) << "\" x2=\""
        << svg_number(x2) << "\" y2=\"" << svg_number(y2) << "\" " << painted("stroke", paint)
        << " stroke-width=\"" << svg_number(width) << "\"";
  if (!dash.empty()) body_ << " stroke-dasharray=\"" << dash << "\"";
  body_ << "/>\n";
}

void SvgCanvas::polyline(std::span<const std::pair<double, double>> points, int paint, double width,
                         std::string_view dash) {
  if (points.size() < 2) return;
  body_ << "<polyline points=\"";
  for (const auto& [x, y] : points) body_ << svg_number(x) << ',' << svg_number(y) << ' ';
  body_ << "\" fill=\"none\" " << painted("stroke", paint) << " stroke-width=\""
        << svg_number(width) << "\" stroke-linejoin=\"round\"";
  if (!dash.empty()) body_ << " stroke-dasharray=\"" << dash << "\"";
  body_ << "/>\n";
}

void SvgCanvas::rect(double x, double y, double width, double height, int paint,
                     std::string_view title, double opacity) {
  body_ << "<rect x=\"" << svg_number(x) << "\" y=\"" << svg_number(y) << "\" width=\""
        << svg_number(width) << "\" height=\"" << svg_number(height) << "\" "
        << painted("fill", paint);
  if (opacity < 1) body_ << " fill-opacity=\"" << svg_number(opacity) << "\"";
  body_ << "><title>" << xml_escaped(title) << "</title></rect>\n";
}

void SvgCanvas::rect(double x, double y, double width, double height, std::string_view colour,
                     std::string_view title) {
  body_ << "<rect x=\"" << svg_number(x) << "\" y=\"" << svg_number(y) << "\" width=\""
        << svg_number(width) << "\" height=\"" << svg_number(height) << "\" fill=\"" << colour
        << "\"><title>" << xml_escaped(title) << "</title></rect>\n";
}

void SvgCanvas::mark(double x, double y, int series, std::string_view title) {
  const double r = mark_radius;
  const auto at = [&](double dx, double dy) {
    return cmat::text(svg_number(x + dx), ' ', svg_number(y + dy));
  };
  std::string path;
  switch (series % 5) {
    case 0:
      path = cmat::text("M", at(-r, 0), "a", r, ' ', r, " 0 1 0 ", 2 * r, " 0a", r, ' ', r,
                        " 0 1 0 ", -2 * r, " 0");
      break;
    case 1:
      path = cmat::text("M", at(-r, -r), "L", at(r, -r), "L", at(r, r), "L", at(-r, r));
      break;
    case 2:
      path = cmat::text("M", at(0, -1.3 * r), "L", at(1.2 * r, r), "L", at(-1.2 * r, r));
      break;
    case 3:
      path = cmat::text("M", at(0, -1.4 * r), "L", at(1.4 * r, 0), "L", at(0, 1.4 * r), "L",
                        at(-1.4 * r, 0));
      break;
    default:
      path = cmat::text("M", at(0, 1.3 * r), "L", at(1.2 * r, -r), "L", at(-1.2 * r, -r));
  }
  body_ << "<path d=\"" << path << "z\" " << painted("fill", kFirstSeries + series) << "><title>"
        << xml_escaped(title) << "</title></path>\n";
}

void SvgCanvas::write_text(double x, double y, std::string_view value, const std::string& style,
                           double size, Anchor anchor, double turn, bool bold) {
  constexpr std::array<std::string_view, 3> anchors = {"start", "middle", "end"};
  body_ << "<text x=\"" << svg_number(x) << "\" y=\"" << svg_number(y) << "\" font-size=\""
        << svg_number(size) << "\" text-anchor=\"" << anchors[static_cast<std::size_t>(anchor)]
        << "\" " << style;
  if (bold) body_ << " font-weight=\"600\"";
  if (turn != 0) {
    body_ << " transform=\"rotate(" << svg_number(turn) << ' ' << svg_number(x) << ' '
          << svg_number(y) << ")\"";
  }
  body_ << '>' << xml_escaped(value) << "</text>\n";
}

void SvgCanvas::text(double x, double y, std::string_view value, int paint, double size,
                     Anchor anchor, double turn, bool bold) {
  write_text(x, y, value, painted("fill", paint), size, anchor, turn, bold);
}

void SvgCanvas::text(double x, double y, std::string_view value, std::string_view colour,
                     double size, Anchor anchor) {
  write_text(x, y, value, cmat::text("fill=\"", colour, "\""), size, anchor, 0, false);
}

std::string SvgCanvas::finish(std::string_view title, std::string_view description) const {
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << svg_number(width_)
      << "\" height=\"" << svg_number(height_) << "\" viewBox=\"0 0 " << svg_number(width_) << ' '
      << svg_number(height_)
      << "\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\">\n<title>"
      << xml_escaped(title) << "</title>\n<desc>" << xml_escaped(description) << "</desc>\n";
  if (ground_ == Ground::paper)
    out << "<rect width=\"100%\" height=\"100%\" fill=\"" << paper_colour(kPaper) << "\"/>\n";
  out << body_.str() << "</svg>\n";
  return out.str();
}

}  // namespace cmat::report
