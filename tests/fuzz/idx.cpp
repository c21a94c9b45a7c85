// data/idx.cpp: MNIST's files, plain and gzip.
#include <zlib.h>

#include <initializer_list>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/data/source.h"
#include "fuzz/input_file.h"
#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

std::string idx(std::initializer_list<int> shape, const std::string& values) {
  std::string bytes = {0, 0, 8, static_cast<char>(shape.size())};
  for (const int length : shape) bytes += {0, 0, 0, static_cast<char>(length)};
  return bytes + values;
}

std::string gzip(const std::string& content) {
  const InputFile file;
  gzFile out = gzopen(file.path().c_str(), "wb");
  gzwrite(out, content.data(), static_cast<unsigned>(content.size()));
  gzclose(out);
  std::string bytes(4096, '\0');
  const int descriptor = std::stoi(file.path().filename());
  bytes.resize(static_cast<std::size_t>(::pread(descriptor, bytes.data(), bytes.size(), 0)));
  return bytes;
}

}  // namespace

std::vector<Target> idx_targets() {
  const std::string images = idx({2, 3, 2}, "abcdefghijkl"),
                    labels = idx({2}, std::string("\1\0", 2));
  const auto good_images = std::make_shared<InputFile>(images);
  const auto good_labels = std::make_shared<InputFile>(labels);
  const auto file = std::make_shared<InputFile>();
  // The input stands for either file; what is wrong with it in one place must not hide the other.
  const auto run = [=](std::string_view input) {
    file->write(input);
    try {
      data::read_idx(file->path(), good_labels->path(), 10);
    } catch (const Error&) {
    }
    data::read_idx(good_images->path(), file->path(), 10);
  };
  return {{.name = "idx",
           .run = run,
           .seeds = {images, labels, gzip(images), gzip(labels)},
           .words = {std::string("\0\0\10\3", 4), std::string("\0\0\10\1", 4), "\x1f\x8b\x08"}}};
}

}  // namespace cmat::fuzz
