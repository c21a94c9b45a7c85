// Tensors on disk in the safetensors format, which Python, Rust and everything else can read
// (https://github.com/huggingface/safetensors): 8 bytes little-endian header length, JSON header,
// raw data. Here without a tensor library: bytes and shapes. Files are written atomically and carry
// a SHA-256 over everything else in them, which reading checks, so a damaged file is never used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cmat {

enum class Dtype { u8, i32, i64, f32, f64 };

std::size_t size_of(Dtype dtype);

/// Row-major (logical order), little-endian.
struct TensorBytes {
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

struct TensorFile {
  std::map<std::string, TensorBytes> tensors;
  std::map<std::string, std::string> metadata;  ///< the key "sha256" is reserved
};

/// The file's bytes: equal content gives equal bytes.
std::string serialize_tensor_file(const TensorFile& file);
void write_tensor_file(const std::filesystem::path& path, const TensorFile& file);

/// Reads and checks everything: lengths against the file's size, offsets against shapes, no overlap
/// or gap, the digest. Throws a failure in one sentence. Trusts no length field. A file without our
/// digest (made by another program) is accepted only when `require_digest` is false.
TensorFile parse_tensor_file(std::string_view bytes, const std::string& origin,
                             bool require_digest = true);
TensorFile read_tensor_file(const std::filesystem::path& path, bool require_digest = true);

}  // namespace cmat
