#include "cmat/data/picture.h"

#include <random>

#include "data/helpers.h"
#include "data/make_picture.h"

namespace cmat::data {
namespace {

using namespace test;

Picture decode(const std::string& file, const DecodeOptions& options = {}) {
  return decode_picture(std::as_bytes(std::span(file)), options);
}

void refuse(const std::string& file, const std::vector<std::string>& parts) {
  expect_error(ErrorKind::failure, parts, [&] { decode(file); });
}

int value(const Picture& picture, std::int64_t x, std::int64_t y, std::int64_t c) {
  return picture.pixels.at(static_cast<std::size_t>((c * picture.height + y) * picture.width + x));
}

/// The picture is the canvas, up to `tolerance` a value.
void expect_same(const Picture& picture, const Canvas& canvas, int tolerance) {
  ASSERT_EQ(picture.channels, canvas.channels);
  ASSERT_EQ(picture.height, canvas.height);
  ASSERT_EQ(picture.width, canvas.width);
  int worst = 0;
  for (int y = 0; y < canvas.height; ++y) {
    for (int x = 0; x < canvas.width; ++x) {
      for (int c = 0; c < canvas.channels; ++c) {
        worst = std::max(worst, std::abs(value(picture, x, y, c) - canvas.at(x, y)[c]));
      }
    }
  }
  EXPECT_LE(worst, tolerance);
}

TEST(Picture, DecodesEveryFormatByItsFirstBytes) {
  const Canvas canvas = gradient(37, 21);
  expect_same(decode(make_png(canvas)), canvas, 0);
  expect_same(decode(make_png(canvas, {.interlaced = true})), canvas, 0);
  expect_same(decode(make_webp(canvas)), canvas, 0);
  expect_same(decode(make_jpeg(canvas)), canvas, 5);
  expect_same(decode(make_jpeg(canvas, {.progressive = true})), canvas, 5);
}

TEST(Picture, MakesGreyOfColoursAndColoursOfGrey) {
  const Canvas colours = gradient(16, 8), grey = gradient(16, 8, 1);
  const Canvas luma = paint(16, 8, 1, [&](int x, int y, int) {
    const std::uint8_t* p = colours.at(x, y);
    return static_cast<std::uint8_t>(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] + 0.5);
  });
  const Canvas repeated = paint(16, 8, 3, [&](int x, int y, int) { return *grey.at(x, y); });
  expect_same(decode(make_png(colours), {.grey = true}), luma, 1);
  expect_same(decode(make_webp(colours), {.grey = true}), luma, 1);
  expect_same(decode(make_jpeg(colours), {.grey = true}), luma, 4);
  const std::string png = make_png(grey, {.type = PNG_COLOR_TYPE_GRAY});
  expect_same(decode(png), repeated, 0);
  expect_same(decode(png, {.grey = true}), grey, 0);
  expect_same(decode(make_jpeg(grey)), repeated, 4);
  expect_same(decode(make_jpeg(grey), {.grey = true}), grey, 4);
}

/// The value of one colour at a corner of a picture whose four quarters have one value each.
std::array<int, 4> corners(const Picture& p) {
  const auto right = p.width - 1, bottom = p.height - 1;
  const auto level = [&](std::int64_t x, std::int64_t y) { return (value(p, x, y, 0) + 30) / 60; };
  return {level(0, 0), level(right, 0), level(0, bottom), level(right, bottom)};
}

TEST(Picture, IsTurnedAsExifSays) {
  // Which stored quarter is seen top left, top right, bottom left, bottom right. EXIF says at which
  // side of the scene the stored row 0 and column 0 lie: top left, top right, bottom right, bottom
  // left for 1 to 4; left top, right top, right bottom, left bottom for 5 to 8.
  const std::array<std::array<int, 4>, 9> seen = {{{1, 2, 3, 4},
                                                   {1, 2, 3, 4},
                                                   {2, 1, 4, 3},
                                                   {4, 3, 2, 1},
                                                   {3, 4, 1, 2},
                                                   {1, 3, 2, 4},
                                                   {3, 1, 4, 2},
                                                   {4, 2, 3, 1},
                                                   {2, 4, 1, 3}}};
  const Canvas canvas = paint(32, 16, 3, [](int x, int y, int) {
    return static_cast<std::uint8_t>(60 * (1 + (x >= 16) + 2 * (y >= 8)));
  });
  for (int orientation = 0; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      SCOPED_TRACE(orientation);
      const std::string exif = exif_block(orientation, big_endian);
      const std::string webp =
          extended_webp(make_webp(canvas), 32, 16, 8, "EXIF" + little_endian(26, 4) + exif);
      for (const std::string& file : {make_jpeg(canvas, {.exif_block = exif}),
                                      make_png(canvas, {.exif_block = exif}), webp}) {
        SCOPED_TRACE(file.substr(0, 4));
        const Picture picture = decode(file);
        EXPECT_EQ(picture.width, orientation >= 5 ? 16 : 32);
        EXPECT_EQ(picture.height, orientation >= 5 ? 32 : 16);
        EXPECT_EQ(corners(picture), seen[static_cast<std::size_t>(orientation)]);
      }
    }
  }
}

TEST(Picture, IsNotTurnedByNonsense) {
  const Canvas canvas = gradient(12, 6);
  std::string far = exif_block(6);
  far[4] = '\xf0';  // the directory lies outside of the block
  std::string cut = exif_block(6);
  cut.resize(12);
  std::string many = exif_block(6);
  many[8] = many[9] = '\xff';  // entries than the block holds
  many[10] = 0;                // the first is another tag
  for (const std::string& exif : {exif_block(9), far, cut, many, std::string("rubbish")}) {
    expect_same(decode(make_png(canvas, {.exif_block = exif_block(1)})), canvas, 0);
    expect_same(decode(make_jpeg(canvas, {.exif_block = exif})), canvas, 5);
  }
}

TEST(Picture, TurnsInkIntoLight) {
  // Ink (c, m, y, k) of 0 to 255 lets through (255 - c)(255 - k) / 255 of red, and so on.
  const Canvas ink = paint(16, 16, 4, [](int x, int y, int c) {
    return static_cast<std::uint8_t>(c == 3 ? 40 : c == 0 ? x * 15 : c == 1 ? y * 15 : 100);
  });
  Canvas inverted = ink;
  for (std::uint8_t& v : inverted.pixels) v = static_cast<std::uint8_t>(255 - v);
  const Canvas light = paint(16, 16, 3, [&](int x, int y, int c) {
    const std::uint8_t* p = ink.at(x, y);
    return static_cast<std::uint8_t>((255 - p[c]) * (255 - p[3]) / 255);
  });
  expect_same(decode(make_jpeg(ink)), light, 8);
  expect_same(decode(make_jpeg(inverted, {.adobe = true})), light, 8);
  expect_same(decode(make_jpeg(inverted, {.ycck = true, .adobe = true})), light, 10);
  EXPECT_EQ(decode(make_jpeg(ink), {.grey = true}).channels, 1);
}

TEST(Picture, TransparentPartsLieOnWhite) {
  const Canvas canvas = paint(16, 4, 4, [](int x, int, int c) {
    return static_cast<std::uint8_t>(c == 3 ? x * 17 : 100 + c);
  });
  const Canvas expected = paint(16, 4, 3, [](int x, int, int c) {
    const double alpha = x * 17 / 255.0;
    return static_cast<std::uint8_t>((100 + c) * alpha + 255 * (1 - alpha) + 0.5);
  });
  expect_same(decode(make_png(canvas, {.type = PNG_COLOR_TYPE_RGB_ALPHA})), expected, 0);
  expect_same(decode(make_webp(canvas)), expected, 1);
}

TEST(Picture, ReadsPalettesWithTransparency) {
  const Canvas indices =
      paint(4, 1, 1, [](int x, int, int) { return static_cast<std::uint8_t>(x); });
  const PngOptions options{.type = PNG_COLOR_TYPE_PALETTE,
                           .palette = {{10, 20, 30}, {200, 100, 50}, {0, 0, 0}, {1, 2, 3}},
                           .palette_alpha = {255, 255, 0}};
  const Picture picture = decode(make_png(indices, options));
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{10, 200, 255, 1,    // red
                                                       20, 100, 255, 2,    // green
                                                       30, 50, 255, 3}));  // blue
}

TEST(Picture, RoundsSixteenBitsToEight) {
  Canvas wide{3, 1, 6};
  for (const int v : {0x0000, 0x0180, 0x0181, 0x7fff, 0x8000, 0xffff, 0xfe80, 0x00ff, 0x0100}) {
    wide.pixels.push_back(static_cast<std::uint8_t>(v >> 8));
    wide.pixels.push_back(static_cast<std::uint8_t>(v & 255));
  }
  const Picture picture = decode(make_png(wide, {.bits = 16}));
  // Round(v / 257).
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{0, 127, 254, 1, 128, 1, 1, 255, 1}));
}

TEST(Picture, ReadsOneBitGrey) {
  const Canvas bits{8, 1, 1, {0b10110000}};
  const Picture picture =
      decode(make_png(bits, {.type = PNG_COLOR_TYPE_GRAY, .bits = 1}), {.grey = true});
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{255, 0, 255, 255, 0, 0, 0, 0}));
}

TEST(Picture, DecodesAJpegSmallWhereThatIsEnough) {
  const std::string file = make_jpeg(gradient(403, 300));
  const auto size = [&](std::int64_t min_side) {
    const Picture picture = decode(file, {.min_side = min_side});
    return std::pair(picture.width, picture.height);
  };
  EXPECT_EQ(size(0), std::pair(403L, 300L));
  EXPECT_EQ(size(38), std::pair(51L, 38L));
  EXPECT_EQ(size(39), std::pair(101L, 75L));
  EXPECT_EQ(size(75), std::pair(101L, 75L));
  EXPECT_EQ(size(150), std::pair(202L, 150L));
  EXPECT_EQ(size(151), std::pair(403L, 300L));
  EXPECT_EQ(size(1000), std::pair(403L, 300L));
}

TEST(Picture, RefusesWhatIsNoPicture) {
  refuse("", {"empty"});
  refuse("GIF89a and so on", {"not a JPEG, PNG or WebP"});
  refuse("\xff", {"not a JPEG, PNG or WebP"});
  refuse("RIFF\1\2\3\4WAVE", {"not a JPEG, PNG or WebP"});
  refuse("\xff\xd8\xff rubbish", {"damaged JPEG"});
  refuse(std::string("\x89PNG\r\n\x1a\nrubbish"), {"damaged PNG"});
  refuse("RIFF\1\2\3\4WEBPrubbish", {"damaged WebP"});
}

TEST(Picture, RefusesTooManyPixelsBeforeTakingMemory) {
  std::string jpeg = make_jpeg(gradient(8, 8));
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  for (const std::size_t i : {5, 6, 7, 8}) jpeg[frame + i] = '\xff';  // 65535 x 65535
  jpeg[frame + 5] = jpeg[frame + 7] = '\xf0';
  refuse(jpeg, {"61695x61695", "are allowed"});

  std::string header("\x7f\xff\xff\xff\0\0\x80\0\x08\x02\0\0\0", 13);
  std::string chunk = "IHDR" + header;
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(chunk.data()), 17);
  std::string png = "\x89PNG\r\n\x1a\n" + std::string("\0\0\0\x0d", 4) + chunk;
  for (const int shift : {24, 16, 8, 0}) png += static_cast<char>(crc >> shift & 0xff);
  png += std::string("\0\0\0\0IDAT\x35\xaf\x06\x1e", 12);
  refuse(png, {"2147483647x32768", "are allowed"});

  const std::string webp = extended_webp(make_webp(gradient(8, 8)), 1 << 14, 1 << 13, 0, "");
  expect_error(ErrorKind::failure, {}, [&] { decode(webp); });
}

TEST(Picture, RefusesAnimations) {
  const std::string still = make_webp(gradient(8, 8));
  refuse(extended_webp(still, 8, 8, 2, ""), {"animated WebP"});
}

/// Every format once, small.
std::vector<std::string> small_files() {
  const Canvas canvas = gradient(20, 14), alpha = gradient(9, 7, 4);
  return {make_jpeg(canvas, {.quality = 80, .exif_block = exif_block(6)}),
          make_jpeg(canvas, {.quality = 80, .progressive = true}),
          make_png(canvas, {.exif_block = exif_block(5)}),
          make_png(alpha, {.type = PNG_COLOR_TYPE_RGB_ALPHA, .interlaced = true}),
          make_webp(canvas),
          make_webp(alpha)};
}

TEST(Picture, RefusesEveryTruncation) {
  for (const std::string& file : small_files()) {
    for (std::size_t size = 1; size < file.size(); ++size) {
      // A WebP file may end with a byte that its decoder does not need.
      if (file[0] == 'R' && size + 2 >= file.size()) continue;
      SCOPED_TRACE(size);
      refuse(file.substr(0, size), {"it is"});
    }
  }
}

TEST(Picture, SurvivesDamage) {
  std::mt19937 random(1);
  int decoded = 0, refused = 0;
  for (const std::string& file : small_files()) {
    for (int trial = 0; trial < 400; ++trial) {
      std::string damaged = file;
      for (int flips = 1 + trial % 4; flips > 0; --flips) {
        damaged[random() % damaged.size()] = static_cast<char>(random());
      }
      try {
        const Picture picture = decode(damaged, {.min_side = trial % 9});
        EXPECT_EQ(std::ssize(picture.pixels), 3 * picture.height * picture.width);
        ++decoded;
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
        ++refused;
      }
    }
  }
  EXPECT_GT(decoded, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace cmat::data
