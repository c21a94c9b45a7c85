// Pictures in the formats, made with the formats' own libraries.
#pragma once

#include <cstdio>
// jpeglib.h wants FILE to be known.
#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace cmat::test {

/// Interleaved pixels of `channels` values each.
struct Canvas {
  int width = 0, height = 0, channels = 3;
  std::vector<std::uint8_t> pixels{};

  const std::uint8_t* at(int x, int y) const {
    return pixels.data() + (static_cast<std::size_t>(y) * width + x) * channels;
  }
};

inline Canvas paint(int width, int height, int channels,
                    const std::function<std::uint8_t(int x, int y, int c)>& value) {
  Canvas canvas{width, height, channels};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) canvas.pixels.push_back(value(x, y, c));
    }
  }
  return canvas;
}

/// A smooth picture that is different everywhere.
inline Canvas gradient(int width, int height, int channels = 3) {
  return paint(width, height, channels, [=](int x, int y, int c) {
    const int along = c == 0 ? x * 255 / width : c == 1 ? y * 255 / height : 0;
    return static_cast<std::uint8_t>(c == 2 ? (x + y) * 255 / (width + height) : along);
  });
}

/// EXIF's block with nothing but an orientation.
inline std::string exif_block(int orientation, bool big_endian = false) {
  const char o = static_cast<char>(orientation);
  if (big_endian) {
    return std::string("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19) + o +
           std::string(6, '\0');
  }
  return std::string("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", 18) + o +
         std::string(7, '\0');
}

struct JpegOptions {
  int quality = 100;
  bool progressive = false;
  bool ycck = false;   ///< of 4 channels: store as YCCK, not as CMYK
  bool adobe = false;  ///< of 4 channels: with Adobe's marker
  std::string exif_block = {};
};

/// 1 channel: grey; 3: RGB, stored as YCbCr without subsampling; 4: CMYK as given.
inline std::string make_jpeg(const Canvas& canvas, const JpegOptions& options = {}) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(canvas.width);
  info.image_height = static_cast<JDIMENSION>(canvas.height);
  info.input_components = canvas.channels;
  info.in_color_space = canvas.channels == 1   ? JCS_GRAYSCALE
                        : canvas.channels == 3 ? JCS_RGB
                                               : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (options.ycck) jpeg_set_colorspace(&info, JCS_YCCK);
  if (canvas.channels == 4) info.write_Adobe_marker = options.adobe ? TRUE : FALSE;
  for (int c = 0; c < info.num_components; ++c) {
    info.comp_info[c].h_samp_factor = info.comp_info[c].v_samp_factor = 1;
  }
  jpeg_set_quality(&info, options.quality, TRUE);
  if (options.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (!options.exif_block.empty()) {
    const std::string block = std::string("Exif\0\0", 6) + options.exif_block;
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(block.data()),
                      static_cast<unsigned>(block.size()));
  }
  std::vector<std::uint8_t> pixels = canvas.pixels;
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = pixels.data() + std::size_t{info.next_scanline} * canvas.width * canvas.channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string result(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return result;
}

struct PngOptions {
  int type = PNG_COLOR_TYPE_RGB;
  int bits = 8;  ///< of 16, `pixels` holds two bytes a value, the higher first
  bool interlaced = false;
  std::vector<png_color> palette{};
  std::vector<png_byte> palette_alpha{};
  std::string exif_block = {};
};

inline std::string make_png(const Canvas& canvas, const PngOptions& options = {}) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::string result;
  png_set_write_fn(
      png, &result,
      [](png_structp p, png_bytep data, png_size_t size) {
        static_cast<std::string*>(png_get_io_ptr(p))
            ->append(reinterpret_cast<const char*>(data), size);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(canvas.width),
               static_cast<png_uint_32>(canvas.height), options.bits, options.type,
               options.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!options.palette.empty()) {
    png_set_PLTE(png, info, options.palette.data(), static_cast<int>(options.palette.size()));
  }
  if (!options.palette_alpha.empty()) {
    png_set_tRNS(png, info, options.palette_alpha.data(),
                 static_cast<int>(options.palette_alpha.size()), nullptr);
  }
  std::string exif = options.exif_block;
  if (!exif.empty()) {
    png_set_eXIf_1(png, info, static_cast<png_uint_32>(exif.size()),
                   reinterpret_cast<png_bytep>(exif.data()));
  }
  png_write_info(png, info);
  std::vector<std::uint8_t> pixels = canvas.pixels;
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  std::vector<png_bytep> rows;
  for (int y = 0; y < canvas.height; ++y) rows.push_back(pixels.data() + y * row_bytes);
  png_write_image(png, rows.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return result;
}

/// Without loss, with alpha if there are 4 channels.
inline std::string make_webp(const Canvas& canvas) {
  std::uint8_t* bytes = nullptr;
  const int stride = canvas.width * canvas.channels;
  const std::size_t size = canvas.channels == 4
                               ? WebPEncodeLosslessRGBA(canvas.pixels.data(), canvas.width,
                                                        canvas.height, stride, &bytes)
                               : WebPEncodeLosslessRGB(canvas.pixels.data(), canvas.width,
                                                       canvas.height, stride, &bytes);
  std::string result(reinterpret_cast<const char*>(bytes), size);
  WebPFree(bytes);
  return result;
}

inline std::string little_endian(std::size_t value, int bytes) {
  std::string result;
  for (int i = 0; i < bytes; ++i) result += static_cast<char>(value >> (8 * i) & 0xff);
  return result;
}

/// The extended container around a plain WebP file: flags, and what follows the picture.
inline std::string extended_webp(const std::string& plain, int width, int height, int flags,
                                 const std::string& trailer) {
  std::string body = "WEBPVP8X" + little_endian(10, 4) + little_endian(flags, 4) +
                     little_endian(width - 1, 3) + little_endian(height - 1, 3) + plain.substr(12) +
                     trailer;
  return "RIFF" + little_endian(body.size(), 4) + body;
}

}  // namespace cmat::test
