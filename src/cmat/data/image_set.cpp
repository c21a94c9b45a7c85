#include "cmat/data/image_set.h"

#include "cmat/core/error.h"

namespace cmat::data {

std::span<const std::uint8_t> image_pixels(const ImageSet& images, std::int64_t index,
                                           std::vector<std::uint8_t>& buffer) {
  if (index < 0 || index >= images.size() || images.labels[static_cast<std::size_t>(index)] < 0) {
    failure("image ", index, " was asked for, but the split has no such image");
  }
  const auto bytes = static_cast<std::size_t>(images.bytes_per_image());
  if (!images.reader) {
    return std::span(images.pixels).subspan(static_cast<std::size_t>(index) * bytes, bytes);
  }
  buffer.resize(bytes);
  images.reader->read(index, buffer);
  return buffer;
}

}  // namespace cmat::data
