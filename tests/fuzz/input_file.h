// An input for parsers that want a path: a file in memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cmat::fuzz {

class InputFile {
 public:
  explicit InputFile(std::string_view content = {}) : descriptor_(::memfd_create("input", 0)) {
    if (descriptor_ < 0) throw std::runtime_error("no file in memory");
    write(content);
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  void write(std::string_view content) {
    if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, content.data(), content.size(),
                                                     0) != static_cast<ssize_t>(content.size())) {
      throw std::runtime_error("cannot write a file in memory");
    }
  }

  /// Each opening of it begins at the first byte.
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace cmat::fuzz
