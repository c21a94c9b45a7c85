#include "cmat/data/source.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

using test::cifar_record;
using test::expect_error;
using test::TemporaryFolder;

TEST(Cifar, ReadsTheFilesOneAfterTheOther) {
  const TemporaryFolder folder;
  const auto first = test::write(folder / "a.bin", cifar_record({7}, 0) + cifar_record({2}, 50));
  const auto second = test::write(folder / "b.bin", cifar_record({9}, 100));
  const ImageSet set = read_cifar({first, second}, 1, 10);
  EXPECT_EQ(set.channels, 3);
  EXPECT_EQ(set.height, 32);
  EXPECT_EQ(set.width, 32);
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{7, 2, 9}));
  ASSERT_EQ(set.pixels.size(), 3u * 3072);
  for (std::size_t i = 0; i < set.pixels.size(); ++i) {
    const std::size_t image = i / 3072;
    ASSERT_EQ(set.pixels[i], static_cast<std::uint8_t>(image * 50 + i % 3072)) << i;
  }
}

TEST(Cifar, TheLastLabelIsTheClass) {
  const TemporaryFolder folder;
  const auto file =
      test::write(folder / "train.bin", cifar_record({11, 99}, 1) + cifar_record({19, 0}, 2));
  const ImageSet set = read_cifar({file}, 2, 100);
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{99, 0}));
  EXPECT_EQ(set.pixels[0], 1);
  EXPECT_EQ(set.pixels[3072], 2);
}

TEST(Cifar, RefusesFilesThatAreNotWholeRecords) {
  const TemporaryFolder folder;
  const std::string two = cifar_record({1}, 0) + cifar_record({2}, 0);
  for (const std::string& bytes : {two.substr(1), two + "x", std::string(), std::string("x")}) {
    const auto file = test::write(folder / "bad.bin", bytes);
    expect_error(ErrorKind::failure, {file.string(), std::to_string(bytes.size()), "3073", "again"},
                 [&] { read_cifar({file}, 1, 10); });
  }
}

TEST(Cifar, RefusesTheOtherCifar) {
  const TemporaryFolder folder;
  const auto file = test::write(folder / "train.bin", cifar_record({1}, 0));
  expect_error(ErrorKind::failure, {file.string(), "3074"}, [&] { read_cifar({file}, 2, 100); });
}

TEST(Cifar, RefusesALabelOutOfRange) {
  const TemporaryFolder folder;
  const auto file = test::write(folder / "a.bin", cifar_record({9}, 0) + cifar_record({10}, 0));
  expect_error(ErrorKind::failure, {file.string(), "image 1", "label 10", "0 to 9"},
               [&] { read_cifar({file}, 1, 10); });
}

TEST(Cifar, NamesAMissingFile) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::failure, {(folder / "no.bin").string(), "No such file"},
               [&] { read_cifar({folder / "no.bin"}, 1, 10); });
}

}  // namespace
}  // namespace cmat::data
