// The decoders behind decode_picture, one file a format, and what they share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cmat/data/picture.h"

namespace cmat::data {

/// A picture as its file has it, before it is turned.
struct RawPicture {
  Picture picture;
  int orientation = 1;  ///< EXIF's, 1 to 8
};

RawPicture decode_jpeg(std::span<const std::byte> file, const DecodeOptions& options);
RawPicture decode_png(std::span<const std::byte> file, const DecodeOptions& options);
RawPicture decode_webp(std::span<const std::byte> file, const DecodeOptions& options);

/// The orientation that a TIFF block (EXIF without its "Exif\0\0") asks for; 1 where it has none or
/// makes no sense.
int exif_orientation(std::span<const std::byte> tiff);

/// Refuses a picture of too many pixels, or of none.
void check_dimensions(std::int64_t width, std::int64_t height);

/// What a file of this format lacks when its end comes too early, and when it is wrong.
[[noreturn]] void refuse_picture(const char* format, const char* reason);

inline std::uint8_t luma(int red, int green, int blue) {
  return static_cast<std::uint8_t>((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16);
}

/// Makes a picture of one or three planes from interleaved red, green, blue and, where `stride` is
/// 4, alpha: what is transparent lies on white.
Picture from_interleaved(std::span<const std::uint8_t> pixels, std::int64_t width,
                         std::int64_t height, int stride, bool grey);

}  // namespace cmat::data
