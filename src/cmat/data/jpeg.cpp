// JPEG with libjpeg-turbo. The library reports errors by longjmp, so whatever calls it is a
// function without objects that need destruction, and memory is taken outside of these.
#include <cstdio>
// jpeglib.h wants FILE to be known.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/data/picture_formats.h"

namespace cmat::data {
namespace {

constexpr int exif_marker = JPEG_APP0 + 1;
/// A progressive picture of a few bytes may ask for thousands of passes over all its pixels.
constexpr int max_scans = 200;

/// Everything that a jump passes by.
struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = "";
};

Decoder& decoder_of(j_common_ptr info) { return *static_cast<Decoder*>(info->client_data); }

[[noreturn]] void stop(j_common_ptr info) {
  Decoder& decoder = decoder_of(info);
  info->err->format_message(info, decoder.message);
  std::longjmp(decoder.jump, 1);
}

/// libjpeg fills what it cannot read with grey and goes on; a picture of which a part is missing is
/// of no use here. Other warnings, such as bytes that nobody needs, are harmless.
void heed_warning(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
      stop(info);
    default:
      return;
  }
}

void limit_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= max_scans) return;
  Decoder& decoder = decoder_of(info);
  std::strcpy(decoder.message, "too many scans");
  std::longjmp(decoder.jump, 1);
}

bool read_header(Decoder& d, const unsigned char* bytes, unsigned long size) {
  if (setjmp(d.jump)) return false;
  jpeg_create_decompress(&d.info);
  d.info.progress = &d.progress;
  jpeg_mem_src(&d.info, bytes, size);
  jpeg_save_markers(&d.info, exif_marker, 0xffff);
  jpeg_read_header(&d.info, TRUE);
  return true;
}

bool start(Decoder& d) {
  if (setjmp(d.jump)) return false;
  jpeg_start_decompress(&d.info);
  return true;
}

/// All rows, interleaved.
bool read_rows(Decoder& d, unsigned char* pixels, std::size_t row_bytes) {
  if (setjmp(d.jump)) return false;
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW row = pixels + d.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&d.info, &row, 1);
  }
  jpeg_finish_decompress(&d.info);
  return true;
}

/// Destroys the library's part whatever happens.
struct Guard {
  explicit Guard(Decoder& d) : decoder(d) {}
  ~Guard() { jpeg_destroy_decompress(&decoder.info); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  Decoder& decoder;
};

int orientation_of(const jpeg_decompress_struct& info) {
  constexpr std::size_t header = 6;  // "Exif\0\0"
  for (auto* marker = info.marker_list; marker; marker = marker->next) {
    if (marker->marker != exif_marker || marker->data_length <= header) continue;
    if (std::memcmp(marker->data, "Exif\0\0", header) != 0) continue;
    const auto* tiff = reinterpret_cast<const std::byte*>(marker->data + header);
    return exif_orientation({tiff, marker->data_length - header});
  }
  return 1;
}

/// The smallest of 1/8, 1/4, 1/2 and 1 that leaves the shorter side long enough.
unsigned scale_denominator(const jpeg_decompress_struct& info, std::int64_t min_side) {
  const std::int64_t shorter = std::min(info.image_width, info.image_height);
  for (const unsigned denominator : {8u, 4u, 2u}) {
    if (min_side > 0 && (shorter + denominator - 1) / denominator >= min_side) return denominator;
  }
  return 1;
}

/// Ink to light. Adobe's programs store inks inverted, and mark the file.
void convert_cmyk(std::vector<std::uint8_t>& pixels, bool inverted) {
  for (std::size_t i = 0; i + 3 < pixels.size(); i += 4) {
    std::uint8_t* p = pixels.data() + i;
    if (!inverted) {
      for (int c = 0; c < 4; ++c) p[c] = static_cast<std::uint8_t>(255 - p[c]);
    }
    for (int c = 0; c < 3; ++c) p[c] = static_cast<std::uint8_t>((p[c] * p[3] + 127) / 255);
    p[3] = 255;
  }
}

}  // namespace

RawPicture decode_jpeg(std::span<const std::byte> file, const DecodeOptions& options) {
  constexpr const char* format = "JPEG";
  Decoder d;
  d.info.client_data = &d;
  d.info.err = jpeg_std_error(&d.errors);
  d.errors.error_exit = stop;
  d.errors.emit_message = heed_warning;
  d.progress.progress_monitor = limit_scans;
  const Guard guard(d);
  if (!read_header(d, reinterpret_cast<const unsigned char*>(file.data()), file.size())) {
    refuse_picture(format, d.message);
  }
  const int orientation = orientation_of(d.info);  // the markers are gone after the last row
  check_dimensions(d.info.image_width, d.info.image_height);
  const bool cmyk = d.info.jpeg_color_space == JCS_CMYK || d.info.jpeg_color_space == JCS_YCCK;
  const bool grey = options.grey && !cmyk;
  d.info.out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
  d.info.scale_num = 1;
  d.info.scale_denom = scale_denominator(d.info, options.min_side);
  if (!start(d)) refuse_picture(format, d.message);

  const std::int64_t width = d.info.output_width, height = d.info.output_height;
  const int components = d.info.output_components;
  std::vector<std::uint8_t> rows(static_cast<std::size_t>(width * height * components));
  if (!read_rows(d, rows.data(), static_cast<std::size_t>(width * components))) {
    refuse_picture(format, d.message);
  }
  if (grey)
    return {{.channels = 1, .height = height, .width = width, .pixels = std::move(rows)},
            orientation};
  if (cmyk) convert_cmyk(rows, d.info.saw_Adobe_marker);
  return {from_interleaved(rows, width, height, components, options.grey), orientation};
}

}  // namespace cmat::data
