// Protocol-buffers wire format, written only and by hand: an ONNX file needs a dozen kinds of
// fields, and libtorch carries a protobuf library of its own, which clashes with the system's.
// https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cmat {

/// One message. Fields come out in the order of the calls; a repeated field is several calls.
class ProtoMessage {
 public:
  ProtoMessage& integer(int field, std::int64_t value);    ///< int32, int64, enum
  ProtoMessage& number(int field, float value);            ///< float
  ProtoMessage& bytes(int field, std::string_view value);  ///< string, bytes
  ProtoMessage& message(int field, const ProtoMessage& value);

  const std::string& encoded() const { return bytes_; }

 private:
  void tag(int field, int wire_type);
  void varint(std::uint64_t value);

  std::string bytes_;
};

}  // namespace cmat
