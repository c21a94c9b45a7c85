#include <fstream>

#include "cmat/core/error.h"
#include "cmat/data/source.h"

namespace cmat::data {
namespace {

constexpr std::int64_t channels = 3, side = 32;
constexpr std::int64_t image_bytes = channels * side * side;

/// The number of records in a file, from its real size: the format has no header.
std::int64_t count_records(const std::filesystem::path& path, std::int64_t record_bytes) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) failure("cannot read ", path.string(), ": ", error.message());
  const auto record = static_cast<std::uintmax_t>(record_bytes);
  if (bytes == 0 || bytes % record != 0) {
    failure(path.string(), " has ", bytes,
            " bytes, which is not a whole number of CIFAR records of ", record_bytes,
            " bytes: the file is cut off or not in CIFAR's binary format, get it again");
  }
  return static_cast<std::int64_t>(bytes / record);
}

void append_file(const std::filesystem::path& path, std::int64_t records, int label_bytes,
                 std::int64_t classes, ImageSet& set) {
  std::ifstream in(path, std::ios::binary);
  std::vector<char> record(static_cast<std::size_t>(label_bytes + image_bytes));
  for (std::int64_t i = 0; i < records; ++i) {
    if (!in.read(record.data(), static_cast<std::streamsize>(record.size()))) {
      failure("cannot read record ", i, " of ", path.string(),
              ": check the disk, then get the file again");
    }
    const auto* pixels = reinterpret_cast<const std::uint8_t*>(record.data()) + label_bytes;
    const int label = pixels[-1];
    if (label >= classes) {
      failure(path.string(), " gives image ", i, " the label ", label, ", but the labels are 0 to ",
              classes - 1, ": the file is damaged or of another data set, get it again");
    }
    set.labels.push_back(label);
    set.pixels.insert(set.pixels.end(), pixels, pixels + image_bytes);
  }
}

}  // namespace

ImageSet read_cifar(const std::vector<std::filesystem::path>& files, int label_bytes,
                    std::int64_t classes) {
  if (label_bytes < 1) failure("a CIFAR record has at least one label byte, not ", label_bytes);
  ImageSet set{.channels = channels, .height = side, .width = side, .pixels = {}, .labels = {}};
  std::vector<std::int64_t> records;
  std::int64_t total = 0;
  for (const auto& path : files) {
    records.push_back(count_records(path, label_bytes + image_bytes));
    total += records.back();
  }
  set.labels.reserve(static_cast<std::size_t>(total));
  set.pixels.reserve(static_cast<std::size_t>(total * image_bytes));
  for (std::size_t i = 0; i < files.size(); ++i) {
    append_file(files[i], records[i], label_bytes, classes, set);
  }
  return set;
}

}  // namespace cmat::data
