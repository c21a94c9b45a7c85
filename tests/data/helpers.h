// What the tests of this folder share: folders that vanish, files in the formats, expected errors.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmat/core/error.h"
#include "core/temporary_folder.h"

namespace cmat::test {

inline std::filesystem::path write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

inline std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline std::filesystem::path write_gzip(const std::filesystem::path& path,
                                        const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return path;
}

/// An IDX file: the header, then the values as they are (so that a test may promise too much).
inline std::string idx(std::initializer_list<std::uint32_t> shape, const std::string& values) {
  std::string bytes = {0, 0, 8, static_cast<char>(shape.size())};
  for (const std::uint32_t length : shape) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(length >> shift & 0xff);
  }
  return bytes + values;
}

/// A CIFAR record whose pixel i is fill + i.
inline std::string cifar_record(std::initializer_list<int> labels, int fill) {
  std::string bytes;
  for (const int label : labels) bytes += static_cast<char>(label);
  for (int i = 0; i < 3072; ++i) bytes += static_cast<char>(fill + i);
  return bytes;
}

/// Runs `body`, which must throw an Error of this kind whose message is one line with all parts.
template <typename Body>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, Body body) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), kind) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in: " << message;
    }
    return;
  }
  ADD_FAILURE() << "no error was thrown";
}

}  // namespace cmat::test
