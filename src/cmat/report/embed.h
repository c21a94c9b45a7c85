// What goes into a self-contained SVG: pixels as PNG, bytes as base64, text as XML.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cmat::report {

/// A PNG file of a planar image [channels, height, width], channels 1 (grey) or 3 (RGB).
std::string png_bytes(std::span<const std::uint8_t> planes, std::int64_t channels,
                      std::int64_t height, std::int64_t width);

/// RFC 4648, with padding.
std::string base64(std::string_view bytes);

/// Safe as an element's text and within quotes. Characters that XML has no place for become U+FFFD.
std::string xml_escaped(std::string_view value);

}  // namespace cmat::report
