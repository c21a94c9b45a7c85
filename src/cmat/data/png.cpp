// PNG with libpng. The library reports errors by longjmp, so whatever calls it is a function
// without objects that need destruction, and memory is taken outside of these.
#include <png.h>

#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/data/picture_formats.h"

namespace cmat::data {
namespace {

/// Everything that a jump passes by.
struct Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const std::byte* bytes = nullptr;
  std::size_t left = 0;
  std::jmp_buf jump{};
  char message[128] = "no memory";
  png_uint_32 row = 0;
  int pass = 0, passes = 0;

  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void stop(png_structp png, png_const_charp reason) {
  auto& d = *static_cast<Decoder*>(png_get_error_ptr(png));
  std::strncpy(d.message, reason, sizeof d.message - 1);
  std::longjmp(d.jump, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, png_size_t size) {
  auto& d = *static_cast<Decoder*>(png_get_io_ptr(png));
  if (size > d.left) png_error(png, "its end is missing");
  std::memcpy(to, d.bytes, size);
  d.bytes += size;
  d.left -= size;
}

/// Room for a row of any sensible picture. A chunk may claim any length, and libpng takes memory
/// for it before it looks whether so much is there.
constexpr png_alloc_size_t max_allocation = png_alloc_size_t{64} << 20;

png_voidp allocate(png_structp, png_alloc_size_t size) {
  return size > max_allocation ? nullptr : std::malloc(size);
}

void release(png_structp, png_voidp memory) { std::free(memory); }

bool read_header(Decoder& d) {
  if (setjmp(d.jump)) return false;
  d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, stop, ignore_warning, nullptr,
                                   allocate, release);
  if (!d.png) return false;
  d.info = png_create_info_struct(d.png);
  if (!d.info) return false;
  png_set_read_fn(d.png, &d, read_bytes);
  png_set_user_limits(d.png, 0x7fffffff, 0x7fffffff);  // check_dimensions is stricter and clearer
  png_set_chunk_malloc_max(d.png, png_alloc_size_t{8} << 20);
  png_read_info(d.png, d.info);
  return true;
}

/// Makes everything red, green, blue and alpha of 8 bits.
bool start(Decoder& d) {
  if (setjmp(d.jump)) return false;
  png_set_expand(d.png);  // palettes, fewer than 8 bits, transparent colours
  png_set_scale_16(d.png);
  png_set_gray_to_rgb(d.png);
  png_set_add_alpha(d.png, 255, PNG_FILLER_AFTER);
  d.passes = png_set_interlace_handling(d.png);
  png_read_update_info(d.png, d.info);
  return png_get_channels(d.png, d.info) == 4 && png_get_bit_depth(d.png, d.info) == 8;
}

bool read_rows(Decoder& d, unsigned char* pixels, png_uint_32 height, std::size_t row_bytes) {
  if (setjmp(d.jump)) return false;
  for (d.pass = 0; d.pass < d.passes; ++d.pass) {
    for (d.row = 0; d.row < height; ++d.row) {
      png_read_row(d.png, pixels + d.row * row_bytes, nullptr);
    }
  }
  png_read_end(d.png, d.info);
  return true;
}

int orientation_of(Decoder& d) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(d.png, d.info, &size, &exif) == 0 || !exif) return 1;
  return exif_orientation({reinterpret_cast<const std::byte*>(exif), size});
}

}  // namespace

RawPicture decode_png(std::span<const std::byte> file, const DecodeOptions& options) {
  constexpr const char* format = "PNG";
  Decoder d;
  d.bytes = file.data();
  d.left = file.size();
  if (!read_header(d)) refuse_picture(format, d.message);
  const png_uint_32 width = png_get_image_width(d.png, d.info);
  const png_uint_32 height = png_get_image_height(d.png, d.info);
  check_dimensions(width, height);
  if (!start(d)) refuse_picture(format, d.message);
  constexpr int channels = 4;
  std::vector<std::uint8_t> rows(std::size_t{width} * height * channels);
  if (!read_rows(d, rows.data(), height, std::size_t{width} * channels)) {
    refuse_picture(format, d.message);
  }
  return {from_interleaved(rows, width, height, channels, options.grey), orientation_of(d)};
}

}  // namespace cmat::data
