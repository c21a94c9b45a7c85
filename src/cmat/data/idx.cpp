#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "cmat/core/error.h"
#include "cmat/data/source.h"

namespace cmat::data {
namespace {

constexpr std::int64_t max_values = std::int64_t{1} << 32;  ///< no data set here is near 4 GB
constexpr std::int64_t max_side = 1 << 15;

/// A plain or gzip file, read front to back. zlib tells the two apart by itself.
class GzipReader {
 public:
  explicit GzipReader(const std::filesystem::path& path)
      : name_(path.string()), file_(gzopen(path.c_str(), "rb")) {
    if (!file_) failure("cannot open ", name_, ": ", std::strerror(errno));
    gzbuffer(file_, 1 << 17);
  }
  ~GzipReader() { gzclose(file_); }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  /// Up to `size` bytes; fewer only at the end of the file.
  std::size_t read(std::uint8_t* to, std::size_t size) {
    const int got = gzread(file_, to, static_cast<unsigned>(size));
    int code = Z_OK;
    const char* reason = gzerror(file_, &code);
    // Z_BUF_ERROR is zlib's word for a gzip stream that stops in the middle.
    if (code == Z_BUF_ERROR) failure(name_, " is cut off, get it again");
    if (got < 0) failure("cannot read ", name_, " (", reason, "): it is damaged, get it again");
    return static_cast<std::size_t>(got);
  }

 private:
  std::string name_;
  gzFile file_;
};

std::int64_t big_endian(const std::uint8_t* bytes) {
  return std::int64_t{bytes[0]} << 24 | std::int64_t{bytes[1]} << 16 | std::int64_t{bytes[2]} << 8 |
         std::int64_t{bytes[3]};
}

struct IdxFile {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> values;
};

/// The shape that the header claims; nothing is allocated on its word.
std::vector<std::int64_t> read_header(GzipReader& reader, const std::string& name, int rank,
                                      const char* what) {
  std::array<std::uint8_t, 16> header{};
  const auto size = static_cast<std::size_t>(4 + 4 * rank);
  if (reader.read(header.data(), size) != size) {
    failure(name, " is too short for the header of IDX ", what, ", get it again");
  }
  const std::int64_t magic = big_endian(header.data());
  if (magic != 0x0800 + rank) {
    failure(name, " starts with the number ", magic, " and not ", 0x0800 + rank,
            ", so it does not hold IDX ", what, ": check data.root or get the file again");
  }
  std::vector<std::int64_t> shape;
  for (int i = 1; i <= rank; ++i) shape.push_back(big_endian(header.data() + 4 * i));
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 1 || (i > 0 && shape[i] > max_side)) {
      failure(name, " claims ", shape[i], i == 0 ? " items" : " pixels a side",
              ", which cannot be: it is damaged, get it again");
    }
  }
  return shape;
}

/// Reads what the header promises, growing with the bytes that are really there, and not one more:
/// neither a false count nor a compressed file of zeros can use up the memory.
std::vector<std::uint8_t> read_values(GzipReader& reader, const std::string& name,
                                      std::size_t promised) {
  constexpr std::size_t chunk = 1 << 20;
  std::vector<std::uint8_t> values;
  while (values.size() < promised) {
    const std::size_t old = values.size(), want = std::min(chunk, promised - old);
    values.resize(old + want);
    const std::size_t got = reader.read(values.data() + old, want);
    if (got < want) {
      failure(name, " holds ", old + got, " bytes of data where its header promises ", promised,
              ": it is cut off, get it again");
    }
  }
  std::uint8_t extra = 0;
  if (reader.read(&extra, 1) != 0) {
    failure(name, " holds more than the ", promised,
            " bytes of data that its header promises: it is damaged, get it again");
  }
  return values;
}

IdxFile read_idx_file(const std::filesystem::path& path, int rank, const char* what) {
  const std::string name = path.string();
  GzipReader reader(path);
  IdxFile file;
  file.shape = read_header(reader, name, rank, what);
  std::int64_t promised = 1;
  for (const std::int64_t length : file.shape) promised *= length;  // < 2^62: see read_header
  if (promised > max_values) {
    failure(name, " claims ", promised, " bytes of data, more than the ", max_values,
            " that are allowed: it is damaged, get it again");
  }
  file.values = read_values(reader, name, static_cast<std::size_t>(promised));
  return file;
}

}  // namespace

ImageSet read_idx(const std::filesystem::path& images, const std::filesystem::path& labels,
                  std::int64_t classes) {
  IdxFile pixels = read_idx_file(images, 3, "images");
  const IdxFile ids = read_idx_file(labels, 1, "labels");
  if (pixels.shape[0] != ids.shape[0]) {
    failure(images.string(), " holds ", pixels.shape[0], " images but ", labels.string(), " holds ",
            ids.shape[0], " labels: they do not belong together, get both again");
  }
  ImageSet set;
  set.channels = 1;
  set.height = pixels.shape[1];
  set.width = pixels.shape[2];
  set.labels.assign(ids.values.begin(), ids.values.end());
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    if (set.labels[i] >= classes) {
      failure(labels.string(), " gives image ", i, " the label ", set.labels[i],
              ", but the labels are 0 to ", classes - 1,
              ": the file is damaged or of another data set, get it again");
    }
  }
  set.pixels = std::move(pixels.values);
  return set;
}

}  // namespace cmat::data
