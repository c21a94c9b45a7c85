#include "cmat/core/tensor_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "cmat/core/files.h"
#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat {
namespace {

using test::expect_failure;

TensorFile example() {
  TensorFile file;
  file.tensors["bytes"] = {Dtype::u8, {3}, std::string("\0\1\2", 3)};
  file.tensors["ints"] = {Dtype::i32, {1, 2}, "abcdefgh"};
  file.tensors["doubles"] = {Dtype::f64, {2}, "0123456789abcdef"};
  file.tensors["scalar"] = {Dtype::i64, {}, "scalar64"};
  file.tensors["none"] = {Dtype::f32, {0, 7}, ""};
  file.metadata = {{"format", "1"}, {"quote \" and µ", "line\nbreak"}};
  return file;
}

std::string with_length(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 255);
  return bytes + header + data;
}

/// A file as another program would write it: no digest.
void expect_refused(const std::string& header, const std::string& data, const std::string& part) {
  SCOPED_TRACE(header.substr(0, 200));
  expect_failure({"x.safetensors cannot be used", part},
                 [&] { parse_tensor_file(with_length(header, data), "x.safetensors", false); });
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one_tensor(const std::string& dtype, const std::string& shape,
                       const std::string& offsets) {
  return R"({"t":)" + tensor(dtype, shape, offsets) + "}";
}

void expect_equal(const TensorFile& a, const TensorFile& b) {
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, expected] : a.tensors) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(b.tensors.contains(name));
    const TensorBytes& found = b.tensors.at(name);
    EXPECT_EQ(found.dtype, expected.dtype);
    EXPECT_EQ(found.shape, expected.shape);
    EXPECT_EQ(found.bytes, expected.bytes);
  }
}

TEST(TensorFile, ComesBackAsItWas) {
  expect_equal(example(), parse_tensor_file(serialize_tensor_file(example()), "x"));
  expect_equal(TensorFile{}, parse_tensor_file(serialize_tensor_file({}), "x"));
  const test::TemporaryFolder folder;
  write_tensor_file(folder / "x.safetensors", example());
  expect_equal(example(), read_tensor_file(folder / "x.safetensors"));
  expect_failure({"none.safetensors"}, [&] { read_tensor_file(folder / "none.safetensors"); });
}

TEST(TensorFile, EqualContentGivesEqualBytes) {
  EXPECT_EQ(serialize_tensor_file(example()),
            serialize_tensor_file(parse_tensor_file(serialize_tensor_file(example()), "x")));
}

TEST(TensorFile, IsWhatTheFormatPrescribes) {
  const std::string bytes = serialize_tensor_file(example());
  std::size_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    length |= std::size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  ASSERT_LE(8 + length, bytes.size());
  EXPECT_EQ(length % 8, 0u);
  const std::string data = bytes.substr(8 + length);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length));
  const nlohmann::json& doubles = header.at("doubles");
  EXPECT_EQ(doubles.at("dtype"), "F64");
  EXPECT_EQ(doubles.at("shape"), nlohmann::json({2}));
  const std::vector<std::size_t> offsets = doubles.at("data_offsets");
  EXPECT_EQ(data.substr(offsets[0], offsets[1] - offsets[0]), "0123456789abcdef");
  EXPECT_EQ(header.at("scalar").at("shape"), nlohmann::json::array());
  for (const char* name : {"doubles", "ints", "scalar"}) {  // aligned to the element's size
    const std::size_t begin = header.at(name).at("data_offsets").at(0);
    EXPECT_EQ(begin % size_of(example().tensors.at(name).dtype), 0u) << name;
  }
  EXPECT_EQ(header.at("__metadata__").at("format"), "1");
}

TEST(TensorFile, TheDigestCanBeCheckedByAnybody) {
  // The recipe: replace the digest by zeros where it first occurs, then hash the whole file.
  std::string bytes = serialize_tensor_file(example());
  const std::size_t place = bytes.find("\"sha256\":\"") + 10;
  const std::string digest = bytes.substr(place, 64);
  EXPECT_EQ(sha256_hex(bytes.replace(place, 64, std::string(64, '0'))), digest);
}

TEST(TensorFile, SizesOfTypes) {
  EXPECT_EQ(size_of(Dtype::u8), 1u);
  EXPECT_EQ(size_of(Dtype::i32), 4u);
  EXPECT_EQ(size_of(Dtype::i64), 8u);
  EXPECT_EQ(size_of(Dtype::f32), 4u);
  EXPECT_EQ(size_of(Dtype::f64), 8u);
}

TEST(TensorFile, RefusesToWriteWhatItCouldNotRead) {
  TensorFile file = example();
  file.tensors["ints"].bytes.pop_back();
  expect_failure({"ints", "7 bytes"}, [&] { serialize_tensor_file(file); });
  file = example();
  file.tensors["ints"].shape = {-1, -2};
  expect_failure({"ints"}, [&] { serialize_tensor_file(file); });
  file = example();
  file.metadata["sha256"] = "mine";
  expect_failure({"sha256", "reserved"}, [&] { serialize_tensor_file(file); });
  file = example();
  file.tensors["__metadata__"] = {Dtype::u8, {0}, ""};
  expect_failure({"__metadata__", "reserved"}, [&] { serialize_tensor_file(file); });
  file = example();
  file.metadata["latin"] = "\xe4";
  expect_failure({"UTF-8"}, [&] { serialize_tensor_file(file); });
}

TEST(TensorFileDamage, EveryChangedBitIsRefused) {
  const std::string good = serialize_tensor_file(example());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      ASSERT_THROW(parse_tensor_file(bad, "x"), Error) << "byte " << i << ", bit " << bit;
    }
  }
}

TEST(TensorFileDamage, EveryOtherLengthIsRefused) {
  const std::string good = serialize_tensor_file(example());
  for (std::size_t size = 0; size < good.size(); ++size) {
    ASSERT_THROW(parse_tensor_file(good.substr(0, size), "x"), Error) << size;
  }
  ASSERT_THROW(parse_tensor_file(good + '\0', "x"), Error);
  ASSERT_THROW(parse_tensor_file(good + good, "x"), Error);
}

TEST(TensorFileDamage, WithoutADigestEveryByteValueIsSafeToRead) {
  // Not all of these can be found out, but none may crash (the sanitizer build looks closely) or
  // give a tensor whose bytes do not fit its shape.
  const std::string good = with_length(R"({"a":)" + tensor("\"F32\"", "[2,1]", "[0,8]") +
                                           R"(,"b":)" + tensor("\"U8\"", "[3]", "[8,11]") + "}",
                                       "01234567abc");
  ASSERT_NO_THROW(parse_tensor_file(good, "x", false));
  int accepted = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[i] = static_cast<char>(value);
      try {
        for (const auto& [name, found] : parse_tensor_file(bad, "x", false).tensors) {
          std::size_t count = size_of(found.dtype);
          for (const std::int64_t length : found.shape) count *= static_cast<std::size_t>(length);
          ASSERT_EQ(found.bytes.size(), count);
        }
        ++accepted;
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(accepted, 11 * 256 - 1);  // the data itself may be anything
}

TEST(TensorFileDamage, AFileOfAnotherProgramIsReadOnlyWhenAllowed) {
  const std::string bytes = with_length(one_tensor("\"U8\"", "[2]", "[0,2]") + "   ", "ab");
  EXPECT_EQ(parse_tensor_file(bytes, "x", false).tensors.at("t").bytes, "ab");
  expect_failure({"x cannot be used", "digest"}, [&] { parse_tensor_file(bytes, "x"); });
}

TEST(TensorFileDamage, OurDigestIsCheckedEvenWhenNotRequired) {
  std::string bytes = serialize_tensor_file(example());
  bytes.back() = 'X';
  expect_failure({"SHA-256"}, [&] { parse_tensor_file(bytes, "x", false); });
}

TEST(TensorFileDamage, AGoodDigestExcusesNothing) {
  const std::string start = R"({"__metadata__":{"sha256":")";
  const std::string rest = R"("},"t":)" + tensor("\"U8\"", "[2]", "[0,3]") + "}";
  std::string bytes = with_length(start + std::string(64, '0') + rest, "abc");
  bytes.replace(8 + start.size(), 64, sha256_hex(bytes));
  expect_failure({"data_offsets", "\"t\""}, [&] { parse_tensor_file(bytes, "x"); });
}

TEST(TensorFileDamage, LengthsAreNotTrusted) {
  expect_failure({"only 0 bytes"}, [] { parse_tensor_file("", "x"); });
  expect_failure({"cut short"}, [] { parse_tensor_file(std::string(8, '\xff'), "x"); });
  expect_failure({"cut short"}, [] {
    std::string bytes = with_length("{}", "");
    bytes[0] = 3;
    parse_tensor_file(bytes, "x", false);
  });
}

TEST(TensorFileDamage, TheHeaderMustBeAPlainJsonObject) {
  expect_refused("", "", "not a JSON object");
  expect_refused("[]", "", "not a JSON object");
  expect_refused(" {}", "", "not a JSON object");
  expect_refused("{", "", "not JSON");
  expect_refused("{}x", "", "not JSON");
  expect_refused("{\"a\xff\":1}", "", "not JSON");
  expect_refused(R"({"t":1})", "", "exactly dtype, shape and data_offsets");
  expect_refused(R"({"t":{"dtype":"U8","shape":[0]}})", "", "exactly");
  expect_refused(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}})", "",
                 "exactly");
  const std::string t = R"("t":)" + tensor("\"U8\"", "[0]", "[0,0]");
  expect_refused("{" + t + "," + t + "}", "", "names \"t\" twice");
  expect_refused(R"({"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "",
                 "twice");
  expect_refused(R"({"__metadata__":[]})", "", "metadata");
  expect_refused(R"({"__metadata__":{"a":1}})", "", "metadata \"a\"");
}

TEST(TensorFileDamage, DeepNestingEndsEarly) {
  const std::string deep(1'000'000, '[');
  expect_refused("{\"t\":" + deep, "", "nested too deeply");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"t\":";
  expect_refused(objects, "", "nested too deeply");
  expect_refused(one_tensor("\"U8\"", "[{\"a\":1}]", "[0,0]"), "", "nested too deeply");
  expect_refused(one_tensor("\"U8\"", "[{}]", "[0,0]"), "", "impossible length");
}

TEST(TensorFileDamage, TypesShapesAndOffsetsAreChecked) {
  expect_refused(one_tensor("\"BF16\"", "[1]", "[0,2]"), "ab", "data type \"BF16\"");
  expect_refused(one_tensor("3", "[1]", "[0,2]"), "ab", "data type 3");
  for (const char* shape : {"[-1]", "[1.0]", "[\"1\"]", "[null]", "[true]", "[-0]", "[[1]]",
                            "[9223372036854775808]", "[18446744073709551616]", "[1e400]"}) {
    expect_refused(one_tensor("\"U8\"", shape, "[0,1]"), "a", "");
  }
  expect_refused(one_tensor("\"U8\"", "1", "[0,1]"), "a", "no list");
  // Products that wrap around to the right size.
  expect_refused(one_tensor("\"U8\"", "[4294967296,4294967296]", "[0,0]"), "", "do not fit");
  expect_refused(one_tensor("\"F64\"", "[2305843009213693952]", "[0,0]"), "", "do not fit");
  for (const char* offsets : {"[0]", "[]", "[0,1,1]", "[1,0]", "[0,2]", "[1,2]", "[0,9]"}) {
    expect_refused(one_tensor("\"U8\"", "[1]", offsets), "a", "do not fit");
  }
  expect_refused(one_tensor("\"U8\"", "[1]", "[-1,0]"), "a", "impossible");
  expect_refused(one_tensor("\"U8\"", "[1]", "{\"a\":0}"), "a", "no list");
}

TEST(TensorFileDamage, DataIsCoveredOnceAndWhole) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":)" + tensor("\"U8\"", "[2]", first) + R"(,"b":)" +
           tensor("\"U8\"", "[2]", second) + "}";
  };
  EXPECT_NO_THROW(parse_tensor_file(with_length(two("[0,2]", "[2,4]"), "abcd"), "x", false));
  EXPECT_NO_THROW(parse_tensor_file(with_length(two("[2,4]", "[0,2]"), "abcd"), "x", false));
  expect_refused(two("[0,2]", "[1,3]"), "abc", "overlap");
  expect_refused(two("[0,2]", "[0,2]"), "ab", "overlap");
  expect_refused(two("[0,2]", "[3,5]"), "abcde", "gap");
  expect_refused(two("[1,3]", "[3,5]"), "abcde", "gap");
  expect_refused(two("[0,2]", "[2,4]"), "abcde", "end at byte 4 of 5");
  expect_refused("{}", "a", "end at byte 0 of 1");
}

}  // namespace
}  // namespace cmat
