// The report of a run made by hand: its page, its files, and what a browser says of them.
#include "cmat/report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "cmat/report/page/gnuplot.h"
#include "report/sample_run.h"

namespace cmat::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::message_of;
using test::TemporaryFolder;

void write_sample_run(const fs::path& folder, const std::string& protocol = "task-aware") {
  fs::create_directories(folder / "evaluations");
  json results = test::sample_results_json();
  results["protocol"] = protocol;
  for (json& row : results["per_task"]) {
    row["precision"] = row["recall"] = row["f1"] = row["accuracy"];
    row["confusion"] = {{400, 100}, {88, 412}};
  }
  test::write(folder / "run.json", test::sample_run_json().dump());
  test::write(folder / "results.json", results.dump());
  std::string events;
  for (int epoch = 1; epoch <= 3; ++epoch) {
    const json event = {{"event", "epoch"}, {"task", 1},           {"stage", "train"},
                        {"epoch", epoch},   {"loss", 1.0 / epoch}, {"train_accuracy", 0.5}};
    events += event.dump() + "\n";
  }
  test::write(folder / "events.jsonl", events);
  const json average = {{"attack", "apgd-ce"},
                        {"eps_pixels", 8.0 / 255},
                        {"tasks", 2},
                        {"accuracy", 0.6125},
                        {"interval", {0.59, 0.63}}};
  json clean = average, strong = average;
  clean["attack"] = "clean";
  clean["eps_pixels"] = 0.0;
  strong["eps_pixels"] = 16.0 / 255;
  strong["accuracy"] = 0.31;
  const json threat = {{"norm", "linf"}, {"eps_pixels", 8.0 / 255}, {"eps", "0.0313725 (8/255)"}};
  const json evaluation = {
      {"protocol", protocol},
      {"threat_models", {threat, threat}},
      {"averages", {clean, average, strong}},
      {"checks",
       {{{"check", "accuracy-rises"}, {"raised", true}, {"message", "apgd-ce <rises>"}}}}};
  test::write(folder / "evaluations" / "apgd.json", evaluation.dump());
  // One pixel.
  test::write(folder / "evaluations" / "grid.svg",
              "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"></svg>");
}

std::size_t count_of(const std::string& part, const std::string& whole) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = whole.find(part, at)) != std::string::npos; ++at) ++count;
  return count;
}

TEST(Report, PageHoldsEverySectionAndEveryFile) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  const auto written = write_report({folder.path() / "a"}, folder.path() / "out");
  const std::string page = test::read(written.index);
  for (const char* heading :
       {"What was run", "Headline numbers", "Accuracy over the attack&apos;s difficulty",
        "Accuracy over eps, steps and step size", "Accuracy matrices", "Accuracy by task position",
        "Forgetting", "Training curves", "Growth and bytes", "Confusion matrices",
        "Precision, recall and F1", "Adversarial images", "Checks", "This report"}) {
    EXPECT_EQ(count_of(std::string(">") + heading + "</h2>", page), 1U) << heading;
  }
  EXPECT_NE(page.find("apgd-ce &lt;rises&gt;"), std::string::npos);
  // Nothing is fetched, and every file that is linked is there.
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  const std::string link = "href=\"";
  std::size_t links = 0;
  for (std::size_t at = page.find(link); at != std::string::npos; at = page.find(link, at + 1)) {
    const std::size_t begin = at + link.size();
    const std::string target = page.substr(begin, page.find('"', begin) - begin);
    if (!target.starts_with("figures/") && !target.starts_with("tables/")) continue;
    EXPECT_TRUE(fs::is_regular_file(folder.path() / "out" / target)) << target;
    ++links;
  }
  EXPECT_GE(links, 3 * (written.figures.size() + written.tables.size()));
  for (const std::string& name : written.figures) {
    for (const char* extension : {".svg", ".dat", ".gp"})
      EXPECT_TRUE(fs::is_regular_file(folder.path() / "out/figures" / (name + extension))) << name;
    EXPECT_EQ(fs::is_regular_file(folder.path() / "out/figures" / (name + ".pdf")), written.pdf);
  }
}

TEST(Report, TablesInThreeFormats) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  write_report({folder.path() / "a"}, folder.path() / "out");
  const fs::path tables = folder.path() / "out" / "tables";
  const std::string csv = test::read(tables / "headline.csv");
  EXPECT_EQ(csv.substr(0, csv.find('\r')),
            "run,tasks,clean,clean 95% interval low,clean 95% interval high,pgd20x2,"
            "pgd20x2 95% interval low,pgd20x2 95% interval high,chance");
  EXPECT_NE(csv.find("\r\na,2,90.1,"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",64.1,"), std::string::npos) << csv;
  EXPECT_NE(test::read(tables / "headline.md").find("| a | 2 | 90.1 |"), std::string::npos);
  const std::string tex = test::read(tables / "headline.tex");
  EXPECT_NE(tex.find("\\begin{tabular}{lrrrrrr}"), std::string::npos) << tex;
  EXPECT_NE(tex.find("a & 2 & 90.1 & "), std::string::npos) << tex;
  // Byte for byte what the run's record says: its own weights, then what is stored in all.
  EXPECT_NE(test::read(tables / "bytes.csv").find("a,2,1,5000,500,750,3500,2525,25925,12963"),
            std::string::npos)
      << test::read(tables / "bytes.csv");
}

TEST(Report, CellsCannotBreakOutOfTheirFormat) {
  const Sheet sheet{"x", "50% & more", {{"name", {"a,\"b\"", "<i>|_"}}, {"n", {"1,234", "-"}}}, {}};
  EXPECT_EQ(csv_table(sheet), "name,n\r\n\"a,\"\"b\"\"\",1234\r\n<i>|_,\r\n");
  EXPECT_NE(html_table(sheet).find("&lt;i&gt;|_"), std::string::npos);
  EXPECT_NE(html_table(sheet).find("<td class=\"n\">1,234</td>"), std::string::npos);
  EXPECT_NE(markdown_table(sheet).find("| \\<i>\\|\\_ | - |"), std::string::npos);
  EXPECT_NE(latex_table(sheet).find("50\\% \\& more"), std::string::npos);
  EXPECT_NE(latex_table(sheet).find("<i>|\\_ & -"), std::string::npos);
}

TEST(Report, FigureAndItsDataAgree) {
  Chart chart;
  chart.bars = true;
  chart.categories = {"clean", "pgd"};
  chart.y_low = 0;
  chart.y_high = 100;
  chart.series = {{"it's", {{0, 50, 40, 60}, {1, std::nan(""), {}, {}}}}};
  const Figure figure{.name = "f", .title = "", .caption = "", .command = "", .drawing = chart};
  EXPECT_NE(gnuplot_data(figure).find("0 50 40 60 \"clean\"\n1 nan nan nan \"pgd\"\n"),
            std::string::npos)
      << gnuplot_data(figure);
  EXPECT_NE(gnuplot_script(figure).find("'it''s'"), std::string::npos);
  const std::string svg = svg_of(figure, 700, Ground::paper);
  EXPECT_NE(svg.find("it&apos;s, clean: 50 [40, 60]"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("var("), std::string::npos);
  EXPECT_NE(svg_of(figure, 700, Ground::page).find("var(--s0)"), std::string::npos);
}

TEST(Report, TicksAreRoundAndInside) {
  EXPECT_EQ(nice_ticks(0, 100, 5), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(nice_ticks(3, 3, 5), std::vector<double>{3});
  EXPECT_EQ(short_number(0.025), "0.025");
  EXPECT_EQ(short_number(-0.0), "0");
}

TEST(Report, RefusesTwoProtocolsInOneTable) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  write_sample_run(folder.path() / "b", "class-incremental");
  EXPECT_EQ(message_of([&] {
              write_report({folder.path() / "a", folder.path() / "b"}, folder.path() / "out");
            }),
            "a was measured under the protocol task-aware, but b under class-incremental: their "
            "numbers do not belong into one table, so make a report of each");
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
}

void set_norm(const fs::path& file) {
  json record = json::parse(test::read(file));
  record["threat_model"]["norm"] = "l2";
  test::write(file, record.dump());
}

TEST(Report, RefusesTwoNormsInOneTable) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  write_sample_run(folder.path() / "b");
  set_norm(folder.path() / "b" / "results.json");
  EXPECT_EQ(message_of([&] {
              write_report({folder.path() / "a", folder.path() / "b"}, folder.path() / "out");
            }),
            "a was measured under the norm linf, but b under l2: their numbers do not belong into "
            "one table, so make a report of each");
}

TEST(Report, LeavesOutEvaluationsInAnotherNorm) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  write_report({folder.path() / "a"}, folder.path() / "with");
  set_norm(folder.path() / "a" / "evaluations" / "apgd.json");
  write_report({folder.path() / "a"}, folder.path() / "without");
  const auto strongest = [&](const char* out) {
    return test::read(folder.path() / out / "figures" / "difficulty.dat").find("apgd-ce");
  };
  EXPECT_NE(strongest("with"), std::string::npos);
  EXPECT_EQ(strongest("without"), std::string::npos);
}

TEST(Report, LeavesOtherFilesAlone) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  EXPECT_NE(message_of([&] {
              write_report({folder.path() / "a"}, folder.path() / "a");
            }).find("holds files that are not a report"),
            std::string::npos);
  write_report({folder.path() / "a"}, folder.path() / "out");
  write_report({folder.path() / "a"}, folder.path() / "out");  // its own is written anew
}

TEST(Report, ComparisonShowsItsTableAndWhatFailed) {
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "rows" / "one");
  const json comparison = json::parse(R"json({"format": 1, "name": "small", "rows": [
      {"name": "one", "label": "CMAT", "run": "rows/one", "status": "done", "group": "cmat"},
      {"name": "two", "label": "PackNet", "run": "rows/two", "status": "failed", "reason": "no <memory>",
       "note": "begins <early>", "published": {"text": "41.1", "note": "other <units>"}},
      {"name": "two", "label": "PackNet", "run": "rows/three", "status": "pending", "reason": ""},
      {"name": "two", "label": "PackNet", "run": "rows/four", "status": "pending", "reason": ""}],
    "table": [{"group": "cmat", "label": "CMAT", "attack": "clean", "mean": 0.9012, "spread": null,
               "interval": [0.89, 0.91], "runs": 1, "chance": 0.5, "floor": null}],
    "contrasts": [{"a": "CMAT", "b": "PackNet", "attack": "clean", "difference": 0.03,
                   "interval": [0.01, 0.05], "p": 0.01, "p_holm": 0.02, "verdict": "CMAT is ahead"}]})json");
  test::write(folder.path() / "comparison.json", comparison.dump());
  const auto written = write_report({folder.path()}, folder.path() / "out");
  const std::string page = test::read(written.index);
  EXPECT_NE(page.find("The run rows/two is failed: no &lt;memory&gt;"), std::string::npos);
  EXPECT_NE(page.find("Some runs are pending: rows/three, rows/four"), std::string::npos);
  EXPECT_NE(page.find("CMAT is ahead"), std::string::npos);
  EXPECT_NE(page.find("begins &lt;early&gt;"), std::string::npos);
  EXPECT_NE(page.find("other &lt;units&gt;"), std::string::npos);
  EXPECT_EQ(test::read(folder.path() / "out/tables/published.csv"),
            "method,\"published, %\",measured\r\nPackNet,41.1,other <units>\r\n");
  EXPECT_NE(test::read(folder.path() / "out/tables/comparison.csv")
                .find("CMAT,clean,90.1,89.0,91.0,,1,50.0,"),
            std::string::npos);
}

/// What the page says of itself in a browser of this width; nothing where there is no browser.
std::string seen_in_browser(const fs::path& folder, int width) {
  const fs::path page = folder / "measured.html";
  std::string html = test::read(folder / "index.html");
  const std::string script =
      "<script>document.title=JSON.stringify({over:document.documentElement.scrollWidth-innerWidth,"
      "broken:[...document.images].filter(i=>!i.naturalWidth).length,"
      "shown:[...document.querySelectorAll('figure "
      "svg')].filter(s=>s.getBoundingClientRect().width>50)"
      ".length})</script>";
  html.insert(html.find("</body>"), script);
  test::write(page, html);
  const fs::path out = folder / "dom.txt", log = folder / "browser.txt";
  const std::string command =
      "timeout 60 chromium --headless --no-sandbox --disable-gpu --enable-logging=stderr "
      "--user-data-dir=" +
      (folder / "profile").string() + " --window-size=" + std::to_string(width) +
      ",900 --dump-dom file://" + page.string() + " >" + out.string() + " 2>" + log.string();
  if (std::system(command.c_str()) != 0) return "";
  EXPECT_EQ(test::read(log).find("CONSOLE"), std::string::npos) << test::read(log);
  const std::string dom = test::read(out);
  const std::size_t begin = dom.find("<title>") + 7;
  return dom.substr(begin, dom.find("</title>") - begin);
}

TEST(Report, OpensInABrowserWithoutComplaint) {
  if (std::system("command -v chromium >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "there is no chromium";
  const TemporaryFolder folder;
  write_sample_run(folder.path() / "a");
  const auto written = write_report({folder.path() / "a"}, folder.path() / "out");
  for (const int width : {1400, 500}) {  // a window is not narrower than 500 before it is shown
    const std::string seen = seen_in_browser(folder.path() / "out", width);
    ASSERT_NE(seen, "") << "chromium fails";
    const json state = json::parse(seen);
    EXPECT_LE(state.at("over"), 0) << width;
    EXPECT_EQ(state.at("broken"), 0);
    EXPECT_EQ(state.at("shown"), written.figures.size());
  }
}

}  // namespace
}  // namespace cmat::report
