#include "cmat/report/page/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "cmat/core/config_text.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

std::string datum(std::optional<double> value) {
  return value && std::isfinite(*value) ? toml_text::shortest(*value) : "nan";
}

/// In double quotes, for a column of a data file.
std::string quoted_cell(std::string_view value) {
  std::string result = printable(value);
  std::replace(result.begin(), result.end(), '"', '\'');
  return '"' + result + '"';
}

/// As gnuplot's single-quoted string, in which only the quote itself is special.
std::string literal(std::string_view value) {
  std::string result = "'";
  for (const char c : printable(value)) result += c == '\'' ? std::string("''") : std::string(1, c);
  return result + '\'';
}

std::string chart_data(const Chart& chart) {
  std::string result;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    result +=
        text(i > 0 ? "\n\n" : "", "# ", printable(series.name), "\n# x  y  low  high  name\n");
    for (const Point& p : series.points) {
      const auto place = static_cast<std::size_t>(std::max(0.0, p.x));
      const std::string name = place < chart.categories.size() ? chart.categories[place] : "";
      // Without an interval both ends are the value itself.
      result += text(datum(p.x), ' ', datum(p.y), ' ', datum(p.low.value_or(p.y)), ' ',
                     datum(p.high.value_or(p.y)), ' ', quoted_cell(name), '\n');
    }
  }
  return result;
}

std::string heat_data(const HeatMap& map) {
  std::string result = "# row  column  value  label  row's name  column's name\n";
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const bool there = r < map.values.size() && c < map.values[r].size();
      const std::optional<double> value = there ? map.values[r][c] : std::nullopt;
      std::string label = value ? fixed(*value, 1) : "";
      if (r < map.labels.size() && c < map.labels[r].size()) label = map.labels[r][c];
      result += text(r, ' ', c, ' ', datum(value), ' ', quoted_cell(label), ' ',
                     quoted_cell(map.rows[r]), ' ', quoted_cell(map.columns[c]), '\n');
    }
    result += '\n';
  }
  return result;
}

std::string tics(std::string_view axis, const std::vector<std::string>& names) {
  std::string result = text("set ", axis, "tics (");
  for (std::size_t i = 0; i < names.size(); ++i)
    result += text(i > 0 ? ", " : "", literal(names[i]), ' ', i);
  return result + ")\n";
}

std::string preamble(const Figure& figure, std::string_view size) {
  return text(
      "# ", printable(figure.title), "\n# Run in this folder: gnuplot ", figure.name,
      ".gp\nreset\nset encoding utf8\nset terminal pdfcairo noenhanced font 'Sans,10' size ", size,
      "\nset output '", figure.name, ".pdf'\nset datafile missing 'nan'\n");
}

std::string colour(std::size_t series) {
  return literal(paper_colour(kFirstSeries + static_cast<int>(series)));
}

std::string chart_plots(const Figure& figure, const Chart& chart) {
  const double width = chart.series.empty() ? 0.8 : 0.82 / static_cast<double>(chart.series.size());
  const auto count = static_cast<double>(chart.series.size());
  constexpr std::array<int, 5> marks = {7, 5, 9, 13, 11}, dashes = {1, 2, 3, 4, 5};
  std::string result;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const std::string file =
        text(result.empty() ? literal(figure.name + ".dat") : "''", " index ", i);
    const std::string title = text(" title ", literal(chart.series[i].name));
    const double shift = (static_cast<double>(i) + 0.5 - count / 2) * width;
    const auto look = i % marks.size();
    if (!result.empty()) result += ", \\\n     ";
    if (chart.bars) {
      result += text(file, " using ($1+", shift, "):2:(", width * 0.95, ") with boxes lc rgb ",
                     colour(i), title, ", \\\n     '' index ", i, " using ($1+", shift,
                     "):2:3:4 with yerrorbars pt 0 lc rgb 'black' notitle");
    } else {
      result += text(file, " using 1:2 with linespoints pt ", marks[look], " ps 0.6 dt ",
                     dashes[look], " lc rgb ", colour(i), title, ", \\\n     '' index ", i,
                     " using 1:2:3:4 with yerrorbars pt 0 lc rgb ", colour(i), " notitle");
    }
  }
  if (chart.reference) {
    result += text(result.empty() ? "" : ", \\\n     ", *chart.reference,
                   " with lines dt 2 lc rgb 'black' title ", literal(chart.reference_label));
  }
  return "plot " + result + '\n';
}

std::string chart_script(const Figure& figure, const Chart& chart) {
  std::string result = preamble(figure, "16cm,9cm");
  result += text("set xlabel ", literal(chart.x_label), "\nset ylabel ", literal(chart.y_label),
                 "\nset key outside top center horizontal\nset grid ytics lc rgb '#d1d9e0'\n"
                 "set border 3\nset tics nomirror\n");
  if (chart.bars) result += "set style fill solid\n";
  if (chart.y_low || chart.y_high) {
    result += text("set yrange [", chart.y_low ? datum(chart.y_low) : "*", ":",
                   chart.y_high ? datum(chart.y_high) : "*", "]\n");
  }
  if (!chart.categories.empty()) {
    result += tics("x", chart.categories);
    result +=
        text("set xtics rotate by -30\nset xrange [-0.6:", chart.categories.size(), "-0.4]\n");
  }
  if (chart.log_x) result += "set logscale x\n";
  for (const auto& [x, name] : chart.steps) {
    result += text("set arrow from ", datum(x), ", graph 0 to ", datum(x),
                   ", graph 1 nohead dt 2 lc rgb '#9aa4af'\n");
  }
  return result + chart_plots(figure, chart);
}

std::string heat_script(const Figure& figure, const HeatMap& map) {
  std::string result =
      preamble(figure, text(std::clamp<std::size_t>(6 + map.columns.size(), 9, 30), "cm,",
                            std::clamp<std::size_t>(5 + map.rows.size(), 7, 30), "cm"));
  result += text("set xlabel ", literal(map.column_label), "\nset ylabel ", literal(map.row_label),
                 "\nset cblabel ", literal(map.value_label), "\nset cbrange [", datum(map.low), ":",
                 datum(map.high), "]\nset palette defined (");
  for (int i = 0; i <= 4; ++i)
    result += text(i > 0 ? ", " : "", i, ' ', literal(heat_colour(i / 4.0)));
  result +=
      text(")\n", tics("x", map.columns), tics("y", map.rows),
           "set xtics rotate by -45\nset xrange [-0.5:", map.columns.size(), "-0.5]\nset yrange [",
           map.rows.size(), "-0.5:-0.5]\nset tics scale 0\nunset key\n");
  const std::string middle = datum((map.low + map.high) / 2);
  return result + text("plot ", literal(figure.name + ".dat"),
                       " using 2:1:3 with image, \\\n     '' using 2:1:4:($3>", middle,
                       "?0x111111:0xffffff) with labels tc rgb variable font ',8'\n");
}

[[noreturn]] void gnuplot_failed(const std::filesystem::path& log) {
  const std::string said = read_file(log);
  std::filesystem::remove(log);
  failure("gnuplot stopped in ", log.parent_path().string(), ": ",
          wrapped(clipped(said, 300), 10'000));
}

}  // namespace

std::string gnuplot_data(const Figure& figure) {
  const std::string head = text("# ", printable(figure.title), '\n');
  if (const auto* chart = std::get_if<Chart>(&figure.drawing)) return head + chart_data(*chart);
  return head + heat_data(std::get<HeatMap>(figure.drawing));
}

std::string gnuplot_script(const Figure& figure) {
  if (const auto* chart = std::get_if<Chart>(&figure.drawing)) return chart_script(figure, *chart);
  return heat_script(figure, std::get<HeatMap>(figure.drawing));
}

bool run_gnuplot(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  if (names.empty()) return true;
  std::vector<std::string> arguments = {"gnuplot"};
  for (const std::string& name : names) arguments.push_back(name + ".gp");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::filesystem::path log = folder / ".gnuplot.log";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t child = 0;
  const int status = posix_spawnp(&child, "gnuplot", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int raw = 0;
  if (status == 0) {
    while (waitpid(child, &raw, 0) < 0 && errno == EINTR) {
    }
  }
  if (status == 0 && raw != 0) gnuplot_failed(log);
  std::error_code ignored;
  std::filesystem::remove(log, ignored);
  if (status != 0 && status != ENOENT) failure("gnuplot does not start: ", std::strerror(status));
  return status == 0;
}

}  // namespace cmat::report
