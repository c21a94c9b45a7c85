// The report while it is written: one HTML page that needs nothing else, and beside it each table
// and each figure as files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cmat/report/page/figure.h"
#include "cmat/report/page/sheet.h"

namespace cmat::report {

class Document {
 public:
  explicit Document(std::string title) : title_(std::move(title)) {}

  /// A heading, and an entry of the table of contents.
  void section(const std::string& heading);
  void muted(std::string_view value);
  /// A command to type, below words that say what for.
  void command(std::string_view words, std::string_view value);
  void warning(std::string_view value);
  /// Labels and values; empty values are left out.
  void facts(const std::vector<std::pair<std::string, std::string>>& facts);
  /// Large numbers: label, number, what is below it.
  struct Card {
    std::string label, number, below;
  };
  void cards(const std::vector<Card>& cards);

  void table(Sheet sheet);
  void figure(Figure figure);
  /// Small figures side by side.
  void figures(std::vector<Figure> figures);
  /// A picture as it is (PNG or SVG), embedded in the page and put beside the figures.
  void picture(const std::string& name, std::string_view caption, const std::string& bytes,
               std::string_view extension, std::string_view command);
  /// What follows can be folded away; it is open where `open`.
  void begin_fold(std::string_view heading, bool open);
  void end_fold() { body_ += "</details>\n"; }

  struct Written {
    std::filesystem::path index;
    std::vector<std::string> figures, tables;
    bool pdf = false;
  };
  /// Writes index.html, figures/ and tables/. PDFs are there if gnuplot is.
  Written write(const std::filesystem::path& folder) const;

 private:
  std::string figure_html(const Figure& figure);
  /// The name, or the first with a number behind it that no other section, table or figure has.
  std::string unique(char kind, const std::string& first);
  std::string page(bool pdf) const;

  std::string title_, body_;
  std::vector<std::pair<std::string, std::string>> contents_;  ///< address, heading
  std::vector<Sheet> sheets_;
  std::vector<Figure> figures_;
  std::vector<std::pair<std::string, std::string>> pictures_;  ///< file, bytes
  std::vector<std::string> names_;
  int numbered_figures_ = 0;
};

/// The page's style: light and dark, narrow and wide, paper.
std::string page_style();

}  // namespace cmat::report
