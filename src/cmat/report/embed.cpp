#include "cmat/report/embed.h"

#include <png.h>

#include <algorithm>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/report/wording.h"

namespace cmat::report {

std::string png_bytes(std::span<const std::uint8_t> planes, std::int64_t channels,
                      std::int64_t height, std::int64_t width) {
  constexpr std::int64_t largest = 1 << 14;  // of a side: beyond a picture's use, and no overflow
  if ((channels != 1 && channels != 3) || height < 1 || width < 1 || height > largest ||
      width > largest) {
    usage_error("a picture can show images of 1 or 3 channels and of 1 to ", largest,
                " pixels a side, but got ", channels, "x", height, "x", width);
  }
  const auto depth = static_cast<std::size_t>(channels);
  const auto area = static_cast<std::size_t>(height * width);
  if (planes.size() != depth * area) {
    usage_error("an image of ", channels, "x", height, "x", width, " needs ", depth * area,
                " bytes, but has ", planes.size());
  }
  std::vector<std::uint8_t> pixels(depth * area);
  for (std::size_t c = 0; c < depth; ++c) {
    for (std::size_t i = 0; i < area; ++i) pixels[i * depth + c] = planes[c * area + i];
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  // The first call only asks for the size.
  png_alloc_size_t size = 0;
  std::string file;
  if (png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr) != 0) {
    file.resize(size);
    if (png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), 0, nullptr) != 0) {
      file.resize(size);
      return file;
    }
  }
  failure("an image could not be written as PNG: ", image.message);
}

std::string base64(std::string_view bytes) {
  static constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      result += k <= count ? alphabet[(group >> (18 - 6 * k)) & 63U] : '=';
    }
  }
  return result;
}

std::string xml_escaped(std::string_view value) {
  std::string result;
  for (const std::string& character : characters(value)) {
    if (character == "&") {
      result += "&amp;";
    } else if (character == "<") {
      result += "&lt;";
    } else if (character == ">") {
      result += "&gt;";
    } else if (character == "\"") {
      result += "&quot;";
    } else if (character == "'") {
      result += "&apos;";
    } else {
      result += character;
    }
  }
  return result;
}

}  // namespace cmat::report
