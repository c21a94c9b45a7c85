// data/cifar.cpp: CIFAR's binary records, with one and two labels.
#include <memory>

#include "cmat/core/error.h"
#include "cmat/data/source.h"
#include "fuzz/input_file.h"
#include "fuzz/target.h"

namespace cmat::fuzz {

std::vector<Target> cifar_targets() {
  const auto file = std::make_shared<InputFile>();
  const auto run = [=](std::string_view input) {
    file->write(input);
    try {
      data::read_cifar({file->path()}, 1, 10);
    } catch (const Error&) {
    }
    data::read_cifar({file->path(), file->path()}, 2, 100);
  };
  const std::string image(3072, '\7');
  return {{.name = "cifar", .run = run, .seeds = {"\1" + image + "\2" + image, "\1\77" + image}}};
}

}  // namespace cmat::fuzz
