// A small SVG writer: shapes and text, with colours that are either written out or taken from the
// page that the picture stands in, so that it follows the page into the dark.
#pragma once

#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace cmat::report {

/// What a shape is painted with. A series' colour is `kFirstSeries` + its number.
enum Paint : int { kInk, kFaint, kGrid, kPaper, kFirstSeries };

/// Okabe and Ito's colours, which people with any colour vision can tell apart, without yellow and
/// black, which vanish on one of the grounds. More series than these begin again.
inline constexpr int kSeriesColours = 6;

/// "#0072b2", on paper and on a dark ground; the CSS variable ("--s0") that holds them in a page.
std::string paper_colour(int paint);
std::string dark_colour(int paint);
std::string variable_of(int paint);

enum class Ground {
  paper,  ///< a file of its own: colours written out, a white background
  page,   ///< inline in the report: colours are the page's variables, no background
};

enum class Anchor { start, middle, end };

/// "12.5": as few digits as a picture needs.
std::string svg_number(double value);

class SvgCanvas {
 public:
  SvgCanvas(double width, double height, Ground ground) : ground_(ground) { resize(width, height); }
  void resize(double width, double height) {
    width_ = width;
    height_ = height;
  }

  void line(double x1, double y1, double x2, double y2, int paint, double width,
            std::string_view dash = "");
  void polyline(std::span<const std::pair<double, double>> points, int paint, double width,
                std::string_view dash);
  /// A rectangle; `title` is what a pointer resting on it shows.
  void rect(double x, double y, double width, double height, int paint, std::string_view title = "",
            double opacity = 1);
  /// The same in a colour that is the same on every ground ("#ffee00").
  void rect(double x, double y, double width, double height, std::string_view colour,
            std::string_view title);
  /// The mark of a series at a point: circle, square, triangle, diamond, ... by its number.
  void mark(double x, double y, int series, std::string_view title = "");
  /// `turn`: degrees, clockwise around (x, y).
  void text(double x, double y, std::string_view value, int paint, double size, Anchor anchor,
            double turn = 0, bool bold = false);
  void text(double x, double y, std::string_view value, std::string_view colour, double size,
            Anchor anchor);

  /// The document; title and description are for readers who cannot see it.
  std::string finish(std::string_view title, std::string_view description) const;

 private:
  std::string painted(std::string_view property, int paint) const;
  void write_text(double x, double y, std::string_view value, const std::string& style, double size,
                  Anchor anchor, double turn, bool bold);

  Ground ground_;
  double width_ = 0, height_ = 0;
  std::ostringstream body_;
};

/// The dash of a series' line: solid, then others.
std::string_view dash_of(int series);

/// How wide a text is in sans-serif of this size, on the wide side: there is no font to ask.
double text_width(std::string_view value, double size);
/// As much of it as fits.
std::string fitted(std::string_view value, double width, double size);

}  // namespace cmat::report
