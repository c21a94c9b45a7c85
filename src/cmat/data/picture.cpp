#include "cmat/data/picture.h"

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/data/picture_formats.h"

namespace cmat::data {
namespace {

bool starts_with(std::span<const std::byte> file, std::string_view magic, std::size_t at = 0) {
  return file.size() >= at + magic.size() &&
         std::memcmp(file.data() + at, magic.data(), magic.size()) == 0;
}

RawPicture decode_raw(std::span<const std::byte> file, const DecodeOptions& options) {
  using namespace std::string_view_literals;
  if (file.empty()) failure("the file is empty");
  if (starts_with(file, "\xff\xd8\xff"sv)) return decode_jpeg(file, options);
  if (starts_with(file, "\x89PNG\r\n\x1a\n"sv)) return decode_png(file, options);
  if (starts_with(file, "RIFF"sv) && starts_with(file, "WEBP"sv, 8)) {
    return decode_webp(file, options);
  }
  failure("it is not a JPEG, PNG or WebP picture");
}

/// The picture as it is to be seen: orientations 5 to 8 swap rows and columns, then each of them
/// may run backwards.
Picture turn(Picture stored, int orientation) {
  if (orientation <= 1 || orientation > 8) return stored;
  const bool swapped = orientation >= 5;
  // Whether the stored row or column falls as the shown row or column that it follows rises.
  const bool rows_fall =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_fall =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Picture shown{.channels = stored.channels,
                .height = swapped ? stored.width : stored.height,
                .width = swapped ? stored.height : stored.width};
  shown.pixels.resize(stored.pixels.size());
  const std::int64_t h = stored.height, w = stored.width;
  const std::int64_t row_step = (rows_fall ? -w : w), column_step = (columns_fall ? -1 : 1);
  const std::int64_t start = (rows_fall ? (h - 1) * w : 0) + (columns_fall ? w - 1 : 0);
  const std::int64_t down = swapped ? column_step : row_step;
  const std::int64_t right = swapped ? row_step : column_step;
  std::uint8_t* out = shown.pixels.data();
  for (std::int64_t c = 0; c < stored.channels; ++c) {
    const std::uint8_t* plane = stored.pixels.data() + c * h * w;
    for (std::int64_t y = 0; y < shown.height; ++y) {
      for (std::int64_t x = 0; x < shown.width; ++x) *out++ = plane[start + y * down + x * right];
    }
  }
  return shown;
}

/// Reads integers of either byte order, and none outside of the block.
class TiffReader {
 public:
  explicit TiffReader(std::span<const std::byte> bytes) : bytes_(bytes) {
    big_endian_ = starts_with(bytes, "MM");
  }
  bool is_valid() const {
    return (big_endian_ || starts_with(bytes_, "II")) && integer(2, 2) == 42;
  }
  std::uint32_t integer(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t byte = big_endian_ ? i : size - 1 - i;
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + byte]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) {
  constexpr std::uint32_t orientation_tag = 0x0112, short_type = 3;
  constexpr std::size_t entry_bytes = 12;
  const TiffReader reader(tiff);
  if (!reader.is_valid()) return 1;
  const std::size_t directory = reader.integer(4, 4);
  const std::uint32_t entries = reader.integer(directory, 2);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * entry_bytes;
    if (reader.integer(entry, 2) != orientation_tag) continue;
    const std::uint32_t value = reader.integer(entry + 8, 2);
    const bool known = reader.integer(entry + 2, 2) == short_type && value >= 1 && value <= 8;
    return known ? static_cast<int>(value) : 1;
  }
  return 1;
}

void check_dimensions(std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) failure("it has no pixels");
  if (width > kMaxPicturePixels / height) {
    failure("it has ", width, "x", height, " pixels, more than the ", kMaxPicturePixels,
            " that are allowed");
  }
}

void refuse_picture(const char* format, const char* reason) {
  failure("it is a damaged ", format, " file (", reason, ")");
}

Picture from_interleaved(std::span<const std::uint8_t> pixels, std::int64_t width,
                         std::int64_t height, int stride, bool grey) {
  Picture picture{.channels = grey ? 1 : 3, .height = height, .width = width};
  const std::int64_t plane = width * height;
  picture.pixels.resize(static_cast<std::size_t>(picture.channels * plane));
  std::uint8_t* out = picture.pixels.data();
  const std::uint8_t* in = pixels.data();
  for (std::int64_t i = 0; i < plane; ++i, in += stride) {
    std::array<int, 3> rgb = {in[0], in[1], in[2]};
    if (stride == 4 && in[3] != 255) {
      const int alpha = in[3];
      for (int& value : rgb) value = (value * alpha + 255 * (255 - alpha) + 127) / 255;
    }
    if (grey) {
      out[i] = luma(rgb[0], rgb[1], rgb[2]);
    } else {
      for (int c = 0; c < 3; ++c) out[c * plane + i] = static_cast<std::uint8_t>(rgb[c]);
    }
  }
  return picture;
}

Picture decode_picture(std::span<const std::byte> file, const DecodeOptions& options) {
  RawPicture raw = decode_raw(file, options);
  return turn(std::move(raw.picture), raw.orientation);
}

}  // namespace cmat::data
