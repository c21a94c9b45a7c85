#include "cmat/core/tensor_file.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/files.h"

namespace cmat {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t length_size = 8;
constexpr std::uint64_t largest_header = 100'000'000;  // the format's own limit
constexpr std::size_t digest_size = 64;
// Every file of ours begins like this, so the digest's place is known before anything is parsed.
// Its 64 digits count as zeros while the digest is computed.
constexpr std::string_view header_start = R"({"__metadata__":{"sha256":")";

struct DtypeName {
  Dtype dtype;
  std::string_view name;
  std::size_t size;
};
constexpr std::array<DtypeName, 5> dtypes = {{{Dtype::u8, "U8", 1},
                                              {Dtype::i32, "I32", 4},
                                              {Dtype::i64, "I64", 8},
                                              {Dtype::f32, "F32", 4},
                                              {Dtype::f64, "F64", 8}}};

const DtypeName& entry_of(Dtype dtype) {
  for (const DtypeName& entry : dtypes) {
    if (entry.dtype == dtype) return entry;
  }
  failure("a tensor has the unknown data type ", static_cast<int>(dtype));
}

/// The bytes that a tensor of this shape has, or nothing if the shape is impossible.
std::optional<std::uint64_t> byte_count(Dtype dtype, const std::vector<std::int64_t>& shape) {
  std::uint64_t count = size_of(dtype);
  for (const std::int64_t length : shape) {
    if (length < 0 || __builtin_mul_overflow(count, static_cast<std::uint64_t>(length), &count)) {
      return {};
    }
  }
  return count;
}

/// Wide elements first: so every tensor starts at a multiple of its element size, as long as the
/// data itself starts at a multiple of 8. Names decide the rest.
std::vector<std::string> data_order(const TensorFile& file) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file.tensors) names.push_back(name);
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return size_of(file.tensors.at(a).dtype) > size_of(file.tensors.at(b).dtype);
  });
  return names;
}

/// The header with zeros for the digest, padded so that the data is aligned.
std::string header_of(const TensorFile& file, const std::vector<std::string>& order) {
  if (file.metadata.contains("sha256") || file.tensors.contains("__metadata__")) {
    failure(
        "a tensor file cannot hold metadata \"sha256\" or a tensor \"__metadata__\"; both names "
        "are "
        "reserved");
  }
  ordered_json header;
  ordered_json& metadata = header["__metadata__"];
  metadata["sha256"] = std::string(digest_size, '0');
  for (const auto& [key, value] : file.metadata) metadata[key] = value;
  std::uint64_t offset = 0;
  for (const std::string& name : order) {
    const TensorBytes& tensor = file.tensors.at(name);
    if (byte_count(tensor.dtype, tensor.shape) != tensor.bytes.size()) {
      failure("tensor ", name, " has ", tensor.bytes.size(), " bytes, which do not fit its shape");
    }
    ordered_json& entry = header[name];
    entry["dtype"] = entry_of(tensor.dtype).name;
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, offset + tensor.bytes.size()};
    offset += tensor.bytes.size();
  }
  std::string result;
  try {
    result = header.dump();
  } catch (const json::exception&) {
    failure("a tensor file's names and metadata must be UTF-8 text");
  }
  result.append((8 - result.size() % 8) % 8, ' ');
  return result;
}

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (std::size_t i = 0; i < length_size; ++i) bytes += static_cast<char>(value >> (8 * i) & 255);
  return bytes;
}

/// Parses one file's bytes. Whatever is wrong is told with the file's name.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  TensorFile read(bool require_digest) {
    split();
    check_digest(require_digest);
    const json header = parse_header();
    TensorFile file;
    std::vector<Extent> extents;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        file.metadata = metadata_of(entry);
      } else {
        file.tensors[name] = tensor_of(name, entry, extents);
      }
    }
    check_coverage(extents);
    return file;
  }

 private:
  using Extent = std::pair<std::uint64_t, std::uint64_t>;  // begin and end in the data

  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    failure(origin_, " cannot be used: ", parts..., "; restore it from a copy or make it anew");
  }

  void split() {
    if (bytes_.size() < length_size) refuse("it has only ", bytes_.size(), " bytes");
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < length_size; ++i) {
      length |= std::uint64_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
    }
    if (length > bytes_.size() - length_size || length > largest_header) {
      refuse("its header has ", length, " bytes by its own account, but the whole file has ",
             bytes_.size(), ", so it is cut short or not a tensor file");
    }
    header_ = bytes_.substr(length_size, length);
    data_ = bytes_.substr(length_size + length);
  }

  void check_digest(bool require_digest) const {
    const bool ours =
        header_.starts_with(header_start) && header_.size() >= header_start.size() + digest_size;
    if (!ours) {
      if (require_digest)
        refuse("it lacks CMAT's digest, so it is damaged or from another program");
      return;
    }
    const std::size_t place = length_size + header_start.size();
    const std::string zeros(digest_size, '0');
    const std::string digest =
        sha256_hex_of_parts({bytes_.substr(0, place), zeros, bytes_.substr(place + digest_size)});
    if (bytes_.substr(place, digest_size) != digest) {
      refuse("it is damaged or cut short (its SHA-256 is not the one that it was saved with)");
    }
  }

  json parse_header() const {
    // Two things that a plain parse lets through are refused on the way: nesting deeper than any
    // header's, and a name given twice, of which it would keep one.
    constexpr int deepest = 3;  // the numbers of a shape
    std::array<std::set<std::string>, deepest + 2> names;
    const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
      if (depth > deepest) refuse("its header is nested too deeply");
      const auto level = static_cast<std::size_t>(depth);
      if (event == json::parse_event_t::object_start) names[level + 1].clear();
      if (event == json::parse_event_t::key &&
          !names[level].insert(parsed.get<std::string>()).second) {
        refuse("its header names ", parsed.dump(), " twice");
      }
      return true;
    };
    json header;
    try {
      // Every header starts with "{", though JSON would allow spaces before it.
      if (header_.starts_with('{')) header = json::parse(header_.begin(), header_.end(), check);
    } catch (const json::exception&) {
      refuse("its header is not JSON");
    }
    if (!header.is_object()) refuse("its header is not a JSON object");
    return header;
  }

  std::map<std::string, std::string> metadata_of(const json& entry) const {
    std::map<std::string, std::string> metadata;
    if (!entry.is_object()) refuse("its metadata is not a JSON object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) refuse("its metadata ", json(key).dump(), " is not a string");
      if (key != "sha256") metadata[key] = value.get<std::string>();
    }
    return metadata;
  }

  TensorBytes tensor_of(const std::string& name, const json& entry,
                        std::vector<Extent>& extents) const {
    const std::string quoted = json(name).dump();
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
        !entry.contains("shape") || !entry.contains("data_offsets")) {
      refuse("its tensor ", quoted, " must have exactly dtype, shape and data_offsets");
    }
    TensorBytes tensor;
    tensor.dtype = dtype_of(quoted, entry["dtype"]);
    for (const std::uint64_t length : numbers_of(quoted, entry["shape"])) {
      tensor.shape.push_back(static_cast<std::int64_t>(length));
    }
    const std::vector<std::uint64_t> offsets = numbers_of(quoted, entry["data_offsets"]);
    const std::optional<std::uint64_t> expected = byte_count(tensor.dtype, tensor.shape);
    if (!expected || offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_.size() ||
        offsets[1] - offsets[0] != *expected) {
      refuse("the data_offsets of its tensor ", quoted,
             " do not fit its shape and the file's size");
    }
    tensor.bytes = data_.substr(offsets[0], *expected);
    extents.emplace_back(offsets[0], offsets[1]);
    return tensor;
  }

  Dtype dtype_of(const std::string& quoted, const json& value) const {
    for (const DtypeName& entry : dtypes) {
      if (value.is_string() && value.get_ref<const std::string&>() == entry.name)
        return entry.dtype;
    }
    refuse("its tensor ", quoted, " has the data type ", value.dump(),
           " where only U8, I32, I64, F32 and F64 are known");
  }

  std::vector<std::uint64_t> numbers_of(const std::string& quoted, const json& list) const {
    std::vector<std::uint64_t> numbers;
    if (!list.is_array())
      refuse("its tensor ", quoted, " has a shape or data_offsets that is no list");
    for (const json& value : list) {
      constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
      if (!value.is_number_unsigned() || value.get<std::uint64_t>() > largest) {
        refuse("its tensor ", quoted, " has the impossible length or offset ", value.dump());
      }
      numbers.push_back(value.get<std::uint64_t>());
    }
    return numbers;
  }

  void check_coverage(std::vector<Extent> extents) const {
    std::sort(extents.begin(), extents.end());
    std::uint64_t end = 0;
    for (const Extent& extent : extents) {
      if (extent.first != end)
        refuse("its tensors overlap or leave a gap at byte ", end, " of the data");
      end = extent.second;
    }
    if (end != data_.size()) {
      refuse("its tensors end at byte ", end, " of ", data_.size(), " bytes of data");
    }
  }

  std::string_view bytes_, header_, data_;
  const std::string& origin_;
};

}  // namespace

std::size_t size_of(Dtype dtype) { return entry_of(dtype).size; }

std::string serialize_tensor_file(const TensorFile& file) {
  const std::vector<std::string> order = data_order(file);
  const std::string header = header_of(file, order);
  std::size_t total = length_size + header.size();
  for (const auto& [name, tensor] : file.tensors) total += tensor.bytes.size();
  std::string bytes;
  bytes.reserve(total);
  bytes += little_endian(header.size());
  bytes += header;
  for (const std::string& name : order) bytes += file.tensors.at(name).bytes;
  bytes.replace(length_size + header_start.size(), digest_size, sha256_hex(bytes));
  return bytes;
}

void write_tensor_file(const std::filesystem::path& path, const TensorFile& file) {
  write_file_atomic(path, serialize_tensor_file(file));
}

TensorFile parse_tensor_file(std::string_view bytes, const std::string& origin,
                             bool require_digest) {
  return Reader(bytes, origin).read(require_digest);
}

TensorFile read_tensor_file(const std::filesystem::path& path, bool require_digest) {
  return parse_tensor_file(read_file(path), path.string(), require_digest);
}

}  // namespace cmat
