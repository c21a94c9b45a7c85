// data/picture.h: JPEG, PNG and WebP files, of which the first bytes tell which one it is.
#include "cmat/data/picture.h"

#include "data/make_picture.h"
#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

void decode(std::string_view input) {
  data::decode_picture(std::as_bytes(std::span(input.data(), input.size())), {.min_side = 4});
}

}  // namespace

std::vector<Target> picture_targets() {
  using namespace test;
  const Canvas colour = gradient(9, 7), grey = gradient(9, 7, 1), four = gradient(9, 7, 4);
  const std::string turned = exif_block(6);
  return {{.name = "jpeg",
           .run = decode,
           .seeds = {make_jpeg(colour), make_jpeg(grey), make_jpeg(four, {.adobe = true}),
                     make_jpeg(colour, {.progressive = true, .exif_block = turned})},
           .words = {"\xff\xd8", "\xff\xda", "\xff\xc4", "\xff\xe1", "Exif"}},
          {.name = "png",
           .run = decode,
           .seeds = {make_png(colour), make_png(grey, {.type = PNG_COLOR_TYPE_GRAY}),
                     make_png(four, {.type = PNG_COLOR_TYPE_RGBA, .interlaced = true}),
                     make_png(colour, {.exif_block = turned})},
           .words = {"IHDR", "IDAT", "IEND", "PLTE", "tRNS", "eXIf"}},
          {.name = "webp",
           .run = decode,
           .seeds = {make_webp(colour), make_webp(four),
                     extended_webp(make_webp(four), 9, 7, 0x10, "")},
           .words = {"RIFF", "WEBP", "VP8X", "VP8L", "VP8 ", "ANIM", "ALPH", "EXIF"}}};
}

}  // namespace cmat::fuzz
