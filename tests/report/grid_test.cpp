#include "cmat/report/grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "report/png_reader.h"
#include "report/sample_run.h"

namespace cmat::report {
namespace {

GridCell cell_of(std::size_t bytes, int difference) {
  GridCell cell;
  for (std::size_t i = 0; i < bytes; ++i)
    cell.clean.push_back(static_cast<std::uint8_t>(40 + i % 120));
  cell.adversarial = cell.clean;
  for (std::size_t i = 0; i < bytes; i += 2) {
    cell.adversarial[i] = static_cast<std::uint8_t>(cell.adversarial[i] + difference);
  }
  cell.truth = cell.clean_prediction = "Shirt";
  cell.adversarial_prediction = "Coat";
  cell.fooled = true;
  return cell;
}

Grid grid_of(std::int64_t channels, std::size_t cells) {
  Grid grid{"title", "caption", channels, 5, 7, 4, {}};
  for (std::size_t i = 0; i < cells; ++i) {
    grid.cells.push_back(cell_of(static_cast<std::size_t>(channels * 35), 8));
  }
  return grid;
}

std::string written(const Grid& grid) {
  const test::TemporaryFolder folder;
  write_grid(folder.path() / "grid.svg", grid);
  return test::read(folder.path() / "grid.svg");
}

std::size_t count(const std::string& all, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = all.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

std::vector<test::Picture> embedded(const std::string& svg) {
  const std::string start = "data:image/png;base64,";
  std::vector<test::Picture> pictures;
  for (std::size_t at = 0; (at = svg.find(start, at)) != std::string::npos;) {
    at += start.size();
    pictures.push_back(test::read_png(test::from_base64(svg.substr(at, svg.find('"', at) - at))));
  }
  return pictures;
}

/// Every tag is closed in order, no stray "<" or "&": as much of XML as the drawing uses.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = 0; (at = svg.find('<', at)) != std::string::npos;) {
    const std::size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag;
    ASSERT_EQ(count(tag, "\"") % 2, 0U) << tag;
    if (tag.front() == '/') {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(tag.substr(1), open.back());
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = end;
  }
  EXPECT_TRUE(open.empty());
  std::size_t entities = 0;
  for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"})
    entities += count(svg, entity);
  EXPECT_EQ(count(svg, "&"), entities);
}

TEST(Grid, EmbedsCleanAdversarialAndDifference) {
  for (const std::int64_t channels : {1, 3}) {
    const Grid grid = grid_of(channels, 2);
    const std::string svg = written(grid);
    expect_well_formed(svg);
    const auto pictures = embedded(svg);
    ASSERT_EQ(pictures.size(), 6U);
    for (const test::Picture& picture : pictures) {
      EXPECT_EQ(picture.channels, channels);
      EXPECT_EQ(picture.height, 5);
      EXPECT_EQ(picture.width, 7);
    }
    EXPECT_EQ(pictures[0].planes, grid.cells[0].clean);
    EXPECT_EQ(pictures[1].planes, grid.cells[0].adversarial);
    EXPECT_EQ(pictures[2].planes[0], 160);  // 127.5 + 4 * 8, rounded
    EXPECT_EQ(pictures[2].planes[1], 128);  // nothing changed
  }
}

TEST(Grid, FitsTheAmplificationToTheLargestDifference) {
  Grid grid = grid_of(1, 2);
  grid.amplification = 0;
  grid.cells[1] = cell_of(35, -17);
  const std::string svg = written(grid);
  const auto pictures = embedded(svg);
  EXPECT_EQ(pictures[5].planes[0], 0);
  EXPECT_EQ(pictures[2].planes[0], 188);  // 127.5 + 7.5 * 8, rounded up
  EXPECT_NE(svg.find("difference ×7.5"), std::string::npos);
  EXPECT_NE(svg.find("0.5 + 7.5 ×"), std::string::npos);
  EXPECT_NE(svg.find("max 17/255"), std::string::npos);
  grid.cells = {cell_of(35, 0)};
  EXPECT_EQ(embedded(written(grid))[2].planes, std::vector<std::uint8_t>(35, 128));
}

TEST(Grid, StrongAmplificationSaturates) {
  Grid grid = grid_of(1, 2);
  grid.amplification = 1000;
  grid.cells[1] = cell_of(35, -8);
  const auto pictures = embedded(written(grid));
  EXPECT_EQ(pictures[2].planes[0], 255);
  EXPECT_EQ(pictures[5].planes[0], 0);
}

TEST(Grid, RightAndWrongDifferByMoreThanColour) {
  Grid grid = grid_of(1, 1);
  const std::string fooled = written(grid);
  EXPECT_EQ(count(fooled, "<title>right: Shirt"), 1U);
  EXPECT_EQ(count(fooled, "<title>wrong: Coat"), 1U);
  grid.cells[0].fooled = false;
  grid.cells[0].adversarial_prediction = "Shirt";
  const std::string robust = written(grid);
  EXPECT_EQ(count(robust, "<title>right: Shirt"), 2U);
  EXPECT_EQ(count(robust, "font-weight=\"bold\""), count(fooled, "font-weight=\"bold\"") - 1);
  EXPECT_EQ(count(robust, "l8 8m0 -8l-8 8"), count(fooled, "l8 8m0 -8l-8 8") - 1);
}

TEST(Grid, TextCannotBreakTheXml) {
  Grid grid = grid_of(3, 1);
  grid.title = "a & b </svg>";
  grid.caption = "\"quoted\" 'too' \x01\xFF";
  GridCell& cell = grid.cells[0];
  cell.truth = cell.clean_prediction = cell.adversarial_prediction = "<&>\"'";
  const std::string svg = written(grid);
  expect_well_formed(svg);
  EXPECT_NE(svg.find("a &amp; b &lt;/svg&gt;"), std::string::npos);
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
  EXPECT_EQ(count(svg, "</svg>"), 1U);
}

TEST(Grid, HasItsOwnBackgroundAndUnsmoothedPixels) {
  const std::string svg = written(grid_of(3, 1));
  EXPECT_EQ(count(svg, "image-rendering:pixelated"), 3U);
  EXPECT_LT(svg.find("<rect width=\"100%\" height=\"100%\""), svg.find("<text"));
}

TEST(Grid, MoreThanFiveExamplesStandInTwoColumns) {
  const std::string five = written(grid_of(1, 5)), six = written(grid_of(1, 6));
  EXPECT_EQ(count(five, ">adversarial</text>"), 1U);
  EXPECT_EQ(count(six, ">adversarial</text>"), 2U);
  EXPECT_EQ(embedded(six).size(), 18U);
}

TEST(Grid, RefusesWhatCannotBeDrawn) {
  EXPECT_THROW(written(grid_of(3, 0)), Error);
  EXPECT_THROW(written(grid_of(2, 1)), Error);
  const auto refused = [](auto change) {
    Grid grid = grid_of(3, 2);
    change(grid);
    EXPECT_THROW(written(grid), Error);
  };
  refused([](Grid& g) { g.amplification = -1; });
  refused([](Grid& g) { g.amplification = std::numeric_limits<double>::quiet_NaN(); });
  refused([](Grid& g) { g.height = 0; });
  refused([](Grid& g) { g.cells[1].clean.pop_back(); });
  refused([](Grid& g) { g.cells[1].clean.pop_back(), g.cells[1].adversarial.pop_back(); });
}

}  // namespace
}  // namespace cmat::report
