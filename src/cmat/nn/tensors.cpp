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
  const auto bytes = static_cast<std::size_t>((count + 7) / 8);
  if (packed.dtype != Dtype::u8 || packed.bytes.size() != bytes) {
    failure("the stored picks ", what, " do not match the owner map");
  }
  std::vector<bool> bits(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < bits.size(); ++i) {
    bits[i] = (static_cast<unsigned char>(packed.bytes[i / 8]) >> (i % 8)) & 1U;
  }
  return bits;
}

void append_for_digest(std::string& digest_input, const std::string& name,
                       const at::Tensor& tensor) {
  digest_input += text(name, ' ', at::toString(tensor.scalar_type()), ' ', tensor.sizes(), '\n');
  digest_input += raw_bytes(tensor);
}

}  // namespace cmat::nn
