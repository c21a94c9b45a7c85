// Between tensors and bytes: files hold logical (row-major) order whatever the layout in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cmat/core/tensor_file.h"

namespace cmat::nn {

TensorBytes to_bytes(const at::Tensor& tensor);
/// A contiguous CPU tensor with its own storage.
at::Tensor from_bytes(const TensorBytes& bytes);

/// Copies a stored tensor into a live one of the same shape and dtype, whatever its layout or
/// device. A mismatch is a failure that names `what`.
void load_into(const at::Tensor& live, const TensorBytes& bytes, const std::string& what);

/// The entry `name`; a failure when there is none.
const TensorBytes& require(const TensorFile& file, const std::string& name);

/// Bits, least significant first; the last byte is filled with zeros.
TensorBytes pack_bits(const std::vector<bool>& bits);
/// REQUIRES the exact length for `count` bits, else a failure.
std::vector<bool> unpack_bits(const TensorBytes& packed, std::int64_t count,
                              const std::string& what);

/// pack_bits of the entries of `bits` where `chosen`; both boolean, contiguous, on the CPU.
TensorBytes pack_chosen_bits(const at::Tensor& bits, const at::Tensor& chosen);
/// The way back: a boolean tensor of the shape of `chosen`, false elsewhere. Fails as unpack_bits.
at::Tensor unpack_chosen_bits(const TensorBytes& packed, const at::Tensor& chosen,
                              const std::string& what);

/// Adds a tensor's shape, dtype and bytes in logical order to `digest_input`.
void append_for_digest(std::string& digest_input, const std::string& name,
                       const at::Tensor& tensor);

}  // namespace cmat::nn
