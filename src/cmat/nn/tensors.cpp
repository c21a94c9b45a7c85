#include "cmat/nn/tensors.h"

#include <ATen/Functions.h>

#include <cstring>

#include "cmat/core/error.h"

namespace cmat::nn {
namespace {

Dtype dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kByte:
      return Dtype::u8;
    case at::kInt:
      return Dtype::i32;
    case at::kLong:
      return Dtype::i64;
    case at::kFloat:
      return Dtype::f32;
    case at::kDouble:
      return Dtype::f64;
    default:
      failure("a tensor of type ", at::toString(tensor.scalar_type()), " cannot be stored");
  }
}

at::ScalarType scalar_type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::u8:
      return at::kByte;
    case Dtype::i32:
      return at::kInt;
    case Dtype::i64:
      return at::kLong;
    case Dtype::f32:
      return at::kFloat;
    case Dtype::f64:
      return at::kDouble;
  }
  failure("unknown stored tensor type");
}

std::string raw_bytes(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
  return {static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()};
}

void require_length(const TensorBytes& packed, std::int64_t count, const std::string& what) {
  const auto bytes = static_cast<std::size_t>((count + 7) / 8);
  if (packed.dtype != Dtype::u8 || packed.bytes.size() != bytes) {
    failure("the stored picks ", what, " do not match the owner map");
  }
}

}  // namespace

TensorBytes to_bytes(const at::Tensor& tensor) {
  return {dtype_of(tensor), tensor.sizes().vec(), raw_bytes(tensor)};
}

at::Tensor from_bytes(const TensorBytes& bytes) {
  at::Tensor tensor = at::empty(bytes.shape, at::TensorOptions(scalar_type_of(bytes.dtype)));
  if (tensor.nbytes() != bytes.bytes.size())
    failure("a stored tensor has the wrong number of bytes");
  if (!bytes.bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.bytes.data(), bytes.bytes.size());
  return tensor;
}

void load_into(const at::Tensor& live, const TensorBytes& bytes, const std::string& what) {
  if (live.sizes().vec() != bytes.shape || scalar_type_of(bytes.dtype) != live.scalar_type()) {
    failure("the stored tensor ", what, " has another shape or type than this network needs");
  }
  live.detach().copy_(from_bytes(bytes));
}

const TensorBytes& require(const TensorFile& file, const std::string& name) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) failure("the file lacks the tensor ", name);
  return found->second;
}

TensorBytes pack_bits(const std::vector<bool>& bits) {
  TensorBytes packed{Dtype::u8, {static_cast<std::int64_t>((bits.size() + 7) / 8)}, {}};
  packed.bytes.assign((bits.size() + 7) / 8, '\0');
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) packed.bytes[i / 8] = static_cast<char>(packed.bytes[i / 8] | (1 << (i % 8)));
  }
  return packed;
}

std::vector<bool> unpack_bits(const TensorBytes& packed, std::int64_t count,
                              const std::string& what) {
  require_length(packed, count, what);
  std::vector<bool> bits(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < bits.size(); ++i) {
    bits[i] = (static_cast<unsigned char>(packed.bytes[i / 8]) >> (i % 8)) & 1U;
  }
  return bits;
}

// The two loops below advance by 0 or 1 instead of branching: which entries are chosen has no
// pattern that a processor could predict.

TensorBytes pack_chosen_bits(const at::Tensor& bits, const at::Tensor& chosen) {
  const auto count = chosen.sum().item<std::int64_t>();
  TensorBytes packed{Dtype::u8, {(count + 7) / 8}, {}};
  packed.bytes.reserve(static_cast<std::size_t>((count + 7) / 8));
  const bool* bit = bits.const_data_ptr<bool>();
  const bool* take = chosen.const_data_ptr<bool>();
  unsigned byte = 0, filled = 0;
  for (std::int64_t i = 0; i < chosen.numel(); ++i) {
    byte |= unsigned(bit[i] & take[i]) << filled;
    filled += take[i];
    if (filled < 8) continue;
    packed.bytes.push_back(static_cast<char>(byte));
    byte = filled = 0;
  }
  if (filled > 0) packed.bytes.push_back(static_cast<char>(byte));
  return packed;
}

at::Tensor unpack_chosen_bits(const TensorBytes& packed, const at::Tensor& chosen,
                              const std::string& what) {
  require_length(packed, chosen.sum().item<std::int64_t>(), what);
  at::Tensor result = at::empty(chosen.sizes(), at::TensorOptions(at::kBool));
  // After the last bit this may look at bytes[size()], which a std::string has.
  const char* bytes = packed.bytes.c_str();
  const bool* take = chosen.const_data_ptr<bool>();
  bool* out = result.data_ptr<bool>();
  std::size_t next = 0;
  for (std::int64_t i = 0; i < chosen.numel(); ++i) {
    const bool bit = (static_cast<unsigned char>(bytes[next / 8]) >> (next % 8)) & 1U;
    out[i] = bit & take[i];
    next += take[i];
  }
  return result;
}

void append_for_digest(std::string& digest_input, const std::string& name,
                       const at::Tensor& tensor) {
  digest_input += text(name, ' ', at::toString(tensor.scalar_type()), ' ', tensor.sizes(), '\n');
  digest_input += raw_bytes(tensor);
}

}  // namespace cmat::nn
