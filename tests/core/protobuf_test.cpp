#include "cmat/core/protobuf.h"

#include <gtest/gtest.h>

namespace cmat {
namespace {

std::string hex(const ProtoMessage& message) {
  std::string result;
  for (const char c : message.encoded()) {
    for (const int nibble : {c >> 4 & 15, c & 15}) result += "0123456789abcdef"[nibble];
  }
  return result;
}

// The first three are the examples of the encoding's specification.
TEST(Protobuf, BytesAreThoseOfTheSpecification) {
  EXPECT_EQ(hex(ProtoMessage().integer(1, 150)), "089601");
  EXPECT_EQ(hex(ProtoMessage().bytes(2, "testing")), "120774657374696e67");
  EXPECT_EQ(hex(ProtoMessage().message(3, ProtoMessage().integer(1, 150))), "1a03089601");
  EXPECT_EQ(hex(ProtoMessage().integer(1, -2)), "08feffffffffffffffff01");
  EXPECT_EQ(hex(ProtoMessage().integer(1, 0)), "0800");
  EXPECT_EQ(hex(ProtoMessage().integer(1, 127).integer(1, 128)), "087f088001");
  EXPECT_EQ(hex(ProtoMessage().number(2, 1.5F)), "150000c03f");
  EXPECT_EQ(hex(ProtoMessage().integer(20, 1)), "a00101");  // a tag of two bytes
}

TEST(Protobuf, ALongFieldHasALongLength) {
  const std::string long_text(300, 'x');
  EXPECT_EQ(ProtoMessage().bytes(1, long_text).encoded(), "\x0a\xac\x02" + long_text);
}

}  // namespace
}  // namespace cmat
