// WebP with libwebp: one picture, with or without transparency.
#include <webp/decode.h>

#include <cstring>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/data/picture_formats.h"

namespace cmat::data {
namespace {

std::size_t little_endian(std::span<const std::byte> bytes) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::to_integer<std::size_t>(bytes[i]) << (8 * i);
  return value;
}

/// From the chunk "EXIF" of the container, which may begin like that of a JPEG.
int orientation_of(std::span<const std::byte> file) {
  constexpr std::size_t riff_header = 12, chunk_header = 8;
  file = file.subspan(riff_header);
  while (file.size() > chunk_header) {
    const std::size_t size = little_endian(file.subspan(4));
    const auto content = file.subspan(chunk_header);
    if (size > content.size()) return 1;
    if (std::memcmp(file.data(), "EXIF", 4) == 0) {
      const bool prefixed = size > 6 && std::memcmp(content.data(), "Exif\0\0", 6) == 0;
      return exif_orientation(content.first(size).subspan(prefixed ? 6 : 0));
    }
    const std::size_t padded = size + size % 2;
    if (padded > content.size()) return 1;
    file = content.subspan(padded);
  }
  return 1;
}

const char* reason_of(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "no memory";
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "its end is missing";
    default:
      return "its content makes no sense";
  }
}

}  // namespace

RawPicture decode_webp(std::span<const std::byte> file, const DecodeOptions& options) {
  constexpr const char* format = "WebP";
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(file.data());
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) failure("this libwebp is not the one it was built with");
  VP8StatusCode status = WebPGetFeatures(bytes, file.size(), &config.input);
  if (status != VP8_STATUS_OK) refuse_picture(format, reason_of(status));
  if (config.input.has_animation) failure("it is an animated WebP file: give a single picture");
  const std::int64_t width = config.input.width, height = config.input.height;
  check_dimensions(width, height);

  const int channels = config.input.has_alpha ? 4 : 3;
  std::vector<std::uint8_t> rows(static_cast<std::size_t>(width * height * channels));
  config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = rows.data();
  config.output.u.RGBA.stride = static_cast<int>(width * channels);
  config.output.u.RGBA.size = rows.size();
  status = WebPDecode(bytes, file.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) refuse_picture(format, reason_of(status));
  return {from_interleaved(rows, width, height, channels, options.grey), orientation_of(file)};
}

}  // namespace cmat::data
