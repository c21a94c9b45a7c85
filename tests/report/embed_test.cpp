#include "cmat/report/embed.h"

#include <gtest/gtest.h>

#include "report/png_reader.h"
#include "report/sample_run.h"

namespace cmat::report {
namespace {

TEST(Base64, VectorsOfRfc4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64(std::string("\xFF\xFB\x00", 3)), "//sA");
}

TEST(Base64, TheTestsOwnDecoderIsItsInverse) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
    EXPECT_EQ(test::from_base64(base64(bytes)), bytes);
  }
}

TEST(XmlEscaped, TextAndAttributes) {
  EXPECT_EQ(xml_escaped("a & b <c> \"d\" 'e'"), "a &amp; b &lt;c&gt; &quot;d&quot; &apos;e&apos;");
  EXPECT_EQ(xml_escaped(std::string_view("\0\x1B", 2)), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(xml_escaped("Schößling"), "Schößling");
}

TEST(Png, PlanesComeBackAsPixels) {
  std::vector<std::uint8_t> planes(3 * 2 * 4);
  for (std::size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<std::uint8_t>(7 * i + 3);
  const test::Picture rgb = test::read_png(png_bytes(planes, 3, 2, 4));
  EXPECT_EQ(rgb.channels, 3);
  EXPECT_EQ(rgb.height, 2);
  EXPECT_EQ(rgb.width, 4);
  EXPECT_EQ(rgb.planes, planes);
  const test::Picture grey = test::read_png(png_bytes(planes, 1, 6, 4));
  EXPECT_EQ(grey.channels, 1);
  EXPECT_EQ(grey.height, 6);
  EXPECT_EQ(grey.planes, planes);
}

TEST(Png, RefusesWhatIsNoImage) {
  const std::vector<std::uint8_t> planes(12);
  EXPECT_THROW(png_bytes(planes, 3, 2, 3), Error);
  EXPECT_THROW(png_bytes(planes, 2, 2, 3), Error);
  EXPECT_THROW(png_bytes(planes, 1, 0, 3), Error);
  EXPECT_THROW(png_bytes(planes, 1, -1, -12), Error);
  EXPECT_THROW(png_bytes(planes, 1, std::int64_t{1} << 40, std::int64_t{1} << 40), Error);
}

}  // namespace
}  // namespace cmat::report
