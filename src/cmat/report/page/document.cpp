#include "cmat/report/page/document.h"

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/version.h"
#include "cmat/report/embed.h"
#include "cmat/report/page/gnuplot.h"

namespace cmat::report {
namespace {

namespace fs = std::filesystem;

constexpr double wide_figure = 760, narrow_figure = 350, small_figure = 330;
/// Stands for links to PDFs until it is known whether there are any.
constexpr std::string_view pdf_mark = "<!--pdf:";

std::string link(const std::string& file, std::string_view words) {
  return text("<a href=\"", file, "\">", words, "</a>");
}

std::string command_html(std::string_view command) {
  if (command.empty()) return "";
  return text("<code class=\"cmd\">", xml_escaped(command), "</code>");
}

/// The page with each mark replaced by a link, or by nothing.
std::string with_pdf_links(const std::string& html, bool pdf) {
  std::string result;
  std::size_t at = 0;
  for (std::size_t mark; (mark = html.find(pdf_mark, at)) != std::string::npos;) {
    const std::size_t begin = mark + pdf_mark.size(), end = html.find("-->", begin);
    result.append(html, at, mark - at);
    if (pdf) result += " · " + link("figures/" + html.substr(begin, end - begin) + ".pdf", "PDF");
    at = end + 3;
  }
  return result.append(html, at);
}

}  // namespace

std::string Document::unique(char kind, const std::string& first) {
  std::string name = first;
  for (int n = 2; std::find(names_.begin(), names_.end(), kind + name) != names_.end(); ++n)
    name = text(first, '-', n);
  names_.push_back(kind + name);
  return name;
}

void Document::section(const std::string& heading) {
  const std::string address = unique('s', "section-" + slug(heading));
  contents_.emplace_back(address, heading);
  body_ += text("<h2 id=\"", address, "\">", xml_escaped(heading), "</h2>\n");
}

void Document::muted(std::string_view value) {
  body_ += text("<p class=\"muted\">", xml_escaped(value), "</p>\n");
}

void Document::command(std::string_view words, std::string_view value) {
  body_ += text("<p class=\"muted\">", xml_escaped(words), " ", command_html(value), "</p>\n");
}

void Document::warning(std::string_view value) {
  body_ += text("<p class=\"warning\"><b>Warning</b> ", xml_escaped(value), "</p>\n");
}

void Document::facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  body_ += "<dl>\n";
  for (const auto& [label, value] : facts) {
    if (value.empty()) continue;
    body_ += text("<dt>", xml_escaped(label), "</dt><dd>", xml_escaped(value), "</dd>\n");
  }
  body_ += "</dl>\n";
}

void Document::cards(const std::vector<Card>& cards) {
  body_ += "<div class=\"cards\">\n";
  for (const Card& card : cards) {
    body_ +=
        text("<div><span>", xml_escaped(card.label), "</span><strong>", xml_escaped(card.number),
             "</strong><span>", xml_escaped(card.below), "</span></div>\n");
  }
  body_ += "</div>\n";
}

void Document::table(Sheet sheet) {
  sheet.name = unique('t', sheet.name);
  sheets_.push_back(sheet);
  body_ +=
      text("<section class=\"table\" id=\"table-", sheet.name, "\"><p class=\"title\"><b>Table ",
           sheets_.size(), ".</b> ", xml_escaped(sheet.title), "</p>\n", html_table(sheet));
  for (const std::string& note : sheet.notes)
    body_ += text("<p class=\"note\">", xml_escaped(note), "</p>\n");
  const std::string file = "tables/" + sheet.name;
  body_ +=
      text("<p class=\"files\">", link(file + ".csv", "CSV"), " · ", link(file + ".md", "Markdown"),
           " · ", link(file + ".tex", "LaTeX"), "</p></section>\n");
}

std::string Document::figure_html(const Figure& figure) {
  std::string result = text("<figure id=\"figure-", figure.name, "\">");
  if (figure.small) {
    result += svg_of(figure, small_figure, Ground::page);
  } else {
    // Letters stay as large as the page's on every screen, so a phone gets a picture of its own.
    result +=
        text("<div class=\"wide\">", svg_of(figure, wide_figure, Ground::page),
             "</div><div class=\"narrow\">", svg_of(figure, narrow_figure, Ground::page), "</div>");
  }
  const std::string file = "figures/" + figure.name;
  return result + text("<figcaption><b>Figure ", ++numbered_figures_, ".</b> ",
                       xml_escaped(figure.title), figure.title.empty() ? "" : ". ",
                       xml_escaped(figure.caption), command_html(figure.command),
                       "<span class=\"files\">", link(file + ".svg", "SVG"), pdf_mark, figure.name,
                       "--> · ", link(file + ".dat", "data"), " · ", link(file + ".gp", "gnuplot"),
                       "</span></figcaption></figure>\n");
}

void Document::figure(Figure figure) {
  figure.name = unique('f', figure.name);
  body_ += figure_html(figure);
  figures_.push_back(std::move(figure));
}

void Document::figures(std::vector<Figure> figures) {
  body_ += "<div class=\"small\">\n";
  for (Figure& each : figures) {
    each.small = true;
    figure(std::move(each));
  }
  body_ += "</div>\n";
}

void Document::picture(const std::string& name, std::string_view caption, const std::string& bytes,
                       std::string_view extension, std::string_view command) {
  const std::string file = text(unique('f', name), '.', extension);
  pictures_.emplace_back(file, bytes);
  body_ += text("<figure class=\"picture\"><img alt=\"", xml_escaped(caption),
                "\" src=\"data:image/", extension == "svg" ? "svg+xml" : "png", ";base64,",
                base64(bytes), "\"><figcaption><b>Figure ", ++numbered_figures_, ".</b> ",
                xml_escaped(caption), command_html(command), "<span class=\"files\">",
                link("figures/" + file, file), "</span></figcaption></figure>\n");
}

void Document::begin_fold(std::string_view heading, bool open) {
  body_ +=
      text("<details", open ? " open" : "", "><summary>", xml_escaped(heading), "</summary>\n");
}

std::string Document::page(bool pdf) const {
  std::string contents = "<nav aria-label=\"contents\"><ul>\n";
  for (const auto& [address, heading] : contents_)
    contents += text("<li><a href=\"#", address, "\">", xml_escaped(heading), "</a></li>\n");
  contents += "</ul></nav>\n";
  return text(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"generator\" content=\"cmat report ",
      kVersion, "\">\n<link rel=\"icon\" href=\"data:,\">\n<title>", xml_escaped(title_),
      "</title>\n<style>\n", page_style(), "</style>\n</head>\n<body>\n<main>\n<h1>",
      xml_escaped(title_), "</h1>\n", contents, with_pdf_links(body_, pdf),
      "</main>\n</body>\n</html>\n");
}

Document::Written Document::write(const fs::path& folder) const {
  fs::create_directories(folder / "figures");
  fs::create_directories(folder / "tables");
  Written written{folder / "index.html", {}, {}, false};
  for (const Sheet& sheet : sheets_) {
    const fs::path file = folder / "tables" / sheet.name;
    write_file_atomic(file.string() + ".csv", csv_table(sheet));
    write_file_atomic(file.string() + ".md", markdown_table(sheet));
    write_file_atomic(file.string() + ".tex", latex_table(sheet));
    written.tables.push_back(sheet.name);
  }
  for (const Figure& figure : figures_) {
    const fs::path file = folder / "figures" / figure.name;
    write_file_atomic(file.string() + ".svg",
                      svg_of(figure, figure.small ? small_figure : wide_figure, Ground::paper));
    write_file_atomic(file.string() + ".dat", gnuplot_data(figure));
    write_file_atomic(file.string() + ".gp", gnuplot_script(figure));
    written.figures.push_back(figure.name);
  }
  for (const auto& [file, bytes] : pictures_) write_file_atomic(folder / "figures" / file, bytes);
  written.pdf = run_gnuplot(folder / "figures", written.figures);
  write_file_atomic(written.index, page(written.pdf));
  return written;
}

}  // namespace cmat::report
