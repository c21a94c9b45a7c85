// core/tensor_file: safetensors, with and without our digest.
#include <stdexcept>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/tensor_file.h"
#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

constexpr std::size_t digest_at = 8 + 27, digest_size = 64;

/// The digest made right, so that a mutation gets past it.
std::string signed_anew(std::string_view input) {
  std::string bytes(input);
  if (bytes.size() < digest_at + digest_size) return bytes;
  bytes.replace(digest_at, digest_size, digest_size, '0');
  return bytes.replace(digest_at, digest_size, sha256_hex(bytes));
}

/// What was read must be the same once it has been written and read again.
void check_round_trip(const TensorFile& file) {
  const std::string once = serialize_tensor_file(file);
  if (serialize_tensor_file(parse_tensor_file(once, "again")) != once) {
    throw std::logic_error("a tensor file changes when it is written and read again");
  }
}

void run(std::string_view input) {
  try {
    check_round_trip(parse_tensor_file(input, "input", /*require_digest=*/false));
  } catch (const Error&) {
  }
  check_round_trip(parse_tensor_file(signed_anew(input), "input"));
}

}  // namespace

std::vector<Target> tensor_file_targets() {
  TensorFile file;
  file.metadata["state"] = "{\"task\":1}";
  file.tensors["a/weight"] = {Dtype::f32, {2, 3}, std::string(24, '\1')};
  file.tensors["b"] = {Dtype::u8, {5}, "owner"};
  file.tensors["none"] = {Dtype::i64, {0, 4}, ""};
  const std::string foreign = R"({"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}} )";
  std::string plain = {static_cast<char>(foreign.size()), 0, 0, 0, 0, 0, 0, 0};
  plain += foreign + "12345678";
  return {{.name = "tensor-file",
           .run = run,
           .seeds = {serialize_tensor_file(file), plain},
           .words = {"\"dtype\":", "\"shape\":", "\"data_offsets\":", "\"F32\"", "\"U8\"",
                     "\"I64\"", "[0,0]", "[4294967296,4294967296]", "9223372036854775807", "-1",
                     "1e3", "\"__metadata__\":", "\"sha256\":", "[[", "{\"", "\\u0000", "\xff"}}};
}

}  // namespace cmat::fuzz
