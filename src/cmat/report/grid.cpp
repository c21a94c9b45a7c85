#include "cmat/report/grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/report/embed.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

// Right and wrong differ by mark, word and colour; the colours are Okabe and Ito's blue and
// vermilion, which people with any colour vision can tell apart.
constexpr std::string_view paper = "#ffffff", ink = "#1f2328", faint = "#59636e", line = "#d1d9e0";
constexpr std::string_view blue = "#0072b2", vermilion = "#d55e00";

constexpr std::int64_t margin = 24, image_gap = 12, column_gap = 48, row_gap = 18;
constexpr std::int64_t title_size = 18, text_size = 13, line_height = 18;
constexpr std::int64_t truth_height = 20, prediction_height = 26, heading_height = 26;

/// How many characters fit. There is no font to ask: a sans-serif character's mean width, as a
/// share of its size, on the wide side.
std::size_t fitting(std::int64_t width, std::int64_t size, bool bold = false) {
  const double character = (bold ? 0.66 : 0.58) * static_cast<double>(size);
  return static_cast<std::size_t>(static_cast<double>(width) / character);
}

/// Where things are, in SVG units.
struct Layout {
  std::int64_t image_width = 0, image_height = 0, columns = 1, rows = 1;
  std::int64_t top = 0;  ///< of the first row of examples
  std::int64_t example_width() const { return 3 * image_width + 2 * image_gap; }
  std::int64_t example_height() const {
    return truth_height + image_height + prediction_height + row_gap;
  }
  std::int64_t width() const {
    return 2 * margin + columns * example_width() + (columns - 1) * column_gap;
  }
  std::int64_t left_of(std::int64_t column) const {
    return margin + column * (example_width() + column_gap);
  }
};

Layout lay_out(const Grid& grid) {
  Layout layout;
  // Whole multiples keep all pixels of an image equally large; a photograph is shown as it is.
  const std::int64_t side = std::max(grid.height, grid.width);
  const std::int64_t scale = std::max<std::int64_t>(1, (128 + side / 2) / side);
  layout.image_width = scale * grid.width;
  layout.image_height = scale * grid.height;
  if (side > 256) {
    layout.image_width = std::max<std::int64_t>(1, grid.width * 256 / side);
    layout.image_height = std::max<std::int64_t>(1, grid.height * 256 / side);
  }
  const auto cells = static_cast<std::int64_t>(grid.cells.size());
  layout.columns = cells > 5 ? 2 : 1;
  layout.rows = (cells + layout.columns - 1) / layout.columns;
  return layout;
}

void check(const Grid& grid) {
  if (grid.cells.empty()) usage_error("a picture of adversarial images needs at least one image");
  if (!std::isfinite(grid.amplification) || grid.amplification < 0) {
    usage_error("the amplification of a picture must be a number that is not negative, but is ",
                grid.amplification);
  }
  for (const GridCell& cell : grid.cells) {
    if (cell.clean.size() != cell.adversarial.size()) {
      usage_error("a clean image has ", cell.clean.size(), " bytes but its adversarial one ",
                  cell.adversarial.size());
    }
  }
}

int largest_difference(const GridCell& cell) {
  int largest = 0;
  for (std::size_t i = 0; i < cell.clean.size(); ++i) {
    largest = std::max(largest, std::abs(cell.adversarial[i] - cell.clean[i]));
  }
  return largest;
}

/// The factor that is asked for, or the one that makes the largest difference of all black or
/// white.
double amplification_of(const Grid& grid) {
  if (grid.amplification > 0) return grid.amplification;
  int largest = 0;
  for (const GridCell& cell : grid.cells) largest = std::max(largest, largest_difference(cell));
  return largest == 0 ? 1 : 127.5 / largest;
}

std::vector<std::uint8_t> amplified(const GridCell& cell, double factor) {
  std::vector<std::uint8_t> result(cell.clean.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const double value = 127.5 + factor * (cell.adversarial[i] - cell.clean[i]);
    result[i] = static_cast<std::uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
  }
  return result;
}

/// One SVG document, written from top to bottom.
class Drawing {
 public:
  Drawing(const Grid& grid, const Layout& layout, double factor)
      : grid_(grid), layout_(layout), factor_(factor) {}

  std::string finish() {
    draw_title();
    for (std::int64_t i = 0; i < layout_.columns; ++i) draw_headings(layout_.left_of(i));
    layout_.top = y_ + heading_height;
    for (std::size_t i = 0; i < grid_.cells.size(); ++i) draw_example(i);
    y_ = layout_.top + layout_.rows * layout_.example_height();
    draw_caption();
    return document();
  }

 private:
  void write(std::int64_t x, std::int64_t y, std::int64_t size, std::string_view colour,
             std::string_view value, std::string_view more = "") {
    body_ << "<text x=\"" << x << "\" y=\"" << y << "\" font-size=\"" << size << "\" fill=\""
          << colour << "\"" << more << ">" << xml_escaped(value) << "</text>\n";
  }

  /// Lines that fit the picture, from y_ on.
  void write_wrapped(std::int64_t size, std::string_view colour, std::string_view value,
                     std::string_view more = "") {
    const std::size_t width = fitting(layout_.width() - 2 * margin, size, !more.empty());
    std::istringstream lines(wrapped(printable(value), width));
    for (std::string each; std::getline(lines, each);) {
      y_ += size + 5;
      write(margin, y_, size, colour, each, more);
    }
  }

  std::string factor_text() const { return fixed(factor_, factor_ == std::floor(factor_) ? 0 : 1); }

  void draw_title() {
    y_ = margin - 8;
    write_wrapped(title_size, ink, grid_.title, " font-weight=\"bold\"");
    y_ += 12;
  }

  void draw_headings(std::int64_t left) {
    const std::string difference = text("difference ×", factor_text());
    const std::array<std::string, 3> headings = {"clean", "adversarial", difference};
    for (std::size_t i = 0; i < headings.size(); ++i) {
      const std::int64_t x =
          left + static_cast<std::int64_t>(i) * (layout_.image_width + image_gap);
      write(x, y_ + line_height, text_size, faint,
            clipped(headings[i], fitting(layout_.image_width, text_size)));
    }
  }

  void draw_image(std::int64_t x, std::int64_t y, const std::vector<std::uint8_t>& planes,
                  std::string_view what) {
    body_ << "<image x=\"" << x << "\" y=\"" << y << "\" width=\"" << layout_.image_width
          << "\" height=\"" << layout_.image_height
          << "\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\""
          << " href=\"data:image/png;base64,"
          << base64(png_bytes(planes, grid_.channels, grid_.height, grid_.width)) << "\"><title>"
          << xml_escaped(what) << "</title></image>\n"
          << "<rect x=\"" << x << ".5\" y=\"" << y << ".5\" width=\"" << layout_.image_width - 1
          << "\" height=\"" << layout_.image_height - 1 << "\" fill=\"none\" stroke=\"" << line
          << "\"/>\n";
  }

  /// A check or a cross, drawn, since not every font has them.
  void draw_mark(std::int64_t x, std::int64_t y, bool right) {
    const std::string_view shape = right ? "l3.5 4 6.5 -8" : "m0 -4l8 8m0 -8l-8 8";
    body_ << "<path d=\"M" << x << " " << y << shape << "\" fill=\"none\" stroke=\""
          << (right ? blue : vermilion) << "\" stroke-width=\"2.4\"/>\n";
  }

  void draw_prediction(std::int64_t x, std::int64_t y, const std::string& predicted, bool right) {
    constexpr std::int64_t mark_width = 16;
    body_ << "<g><title>" << (right ? "right: " : "wrong: ") << xml_escaped(predicted)
          << "</title>\n";
    draw_mark(x + 1, y - 5, right);
    write(x + mark_width, y, text_size, ink,
          clipped(predicted,
                  fitting(layout_.image_width + image_gap / 2 - mark_width, text_size, !right)),
          right ? "" : " font-weight=\"bold\"");
    body_ << "</g>\n";
  }

  void draw_example(std::size_t index) {
    const GridCell& cell = grid_.cells[index];
    const auto position = static_cast<std::int64_t>(index);
    const std::int64_t left = layout_.left_of(position % layout_.columns);
    const std::int64_t top = layout_.top + position / layout_.columns * layout_.example_height();
    const std::int64_t step = layout_.image_width + image_gap;
    const std::int64_t images = top + truth_height;
    write(left, top + 13, text_size, faint,
          clipped("true class: " + cell.truth, fitting(layout_.example_width(), text_size)));
    draw_image(left, images, cell.clean, "clean: " + cell.truth);
    draw_image(left + step, images, cell.adversarial, "adversarial: " + cell.truth);
    draw_image(left + 2 * step, images, amplified(cell, factor_), "difference: " + cell.truth);
    const std::int64_t base = images + layout_.image_height + line_height;
    draw_prediction(left, base, cell.clean_prediction, cell.clean_prediction == cell.truth);
    draw_prediction(left + step, base, cell.adversarial_prediction, !cell.fooled);
    write(left + 2 * step, base, text_size, faint, text("max ", largest_difference(cell), "/255"));
  }

  void draw_caption() {
    write_wrapped(text_size, ink, grid_.caption);
    write_wrapped(text_size, faint,
                  text("Difference: 0.5 + ", factor_text(),
                       " × (adversarial − clean), so grey is no change. Under each image what the "
                       "network says."));
    y_ += text_size + 7;
    draw_mark(margin + 1, y_ - 5, true);
    write(margin + 16, y_, text_size, faint, "right");
    draw_mark(margin + 71, y_ - 5, false);
    write(margin + 86, y_, text_size, faint, "wrong (bold)");
    y_ += margin;
  }

  std::string document() const {
    std::ostringstream out;
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << layout_.width() << "\" height=\""
        << y_ << "\" viewBox=\"0 0 " << layout_.width() << " " << y_
        << "\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\">\n<title>"
        << xml_escaped(grid_.title) << "</title>\n<desc>" << xml_escaped(grid_.caption)
        << "</desc>\n<rect width=\"100%\" height=\"100%\" fill=\"" << paper << "\"/>\n"
        << body_.str() << "</svg>\n";
    return out.str();
  }

  const Grid& grid_;
  Layout layout_;
  double factor_;
  std::int64_t y_ = 0;
  std::ostringstream body_;
};

}  // namespace

void write_grid(const std::filesystem::path& path, const Grid& grid) {
  check(grid);
  // Before the layout divides by a side of 0: the embedding checks sizes, once for the whole grid.
  png_bytes(grid.cells.front().clean, grid.channels, grid.height, grid.width);
  write_file_atomic(path, Drawing(grid, lay_out(grid), amplification_of(grid)).finish());
}

}  // namespace cmat::report
