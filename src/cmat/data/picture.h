// Pictures as people have them: JPEG, PNG and WebP files, told apart by their first bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cmat::data {

/// [channels, height, width], 8 bits, row-major.
struct Picture {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels{};
};

/// A picture with more pixels than this is refused before memory is taken for it.
inline constexpr std::int64_t kMaxPicturePixels = std::int64_t{64} << 20;

struct DecodeOptions {
  bool grey = false;  ///< one channel, the luma of ITU-R BT.601; else three
  /// The shorter side has at least this many pixels (if the file has them); a JPEG is decoded to an
  /// eighth, a quarter or half of its size where that is enough. 0: the full size.
  std::int64_t min_side = 0;
};

/// Decodes a whole file. It is turned as its EXIF orientation says, transparent parts lie on white,
/// gamma and colour profiles are ignored. Throws a failure that says what is wrong with the file
/// (without its name, which the caller knows) when it is damaged, cut off, an animation, larger
/// than kMaxPicturePixels, or of another format.
Picture decode_picture(std::span<const std::byte> file, const DecodeOptions& options);

}  // namespace cmat::data
