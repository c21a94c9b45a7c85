#include "cmat/data/source.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

using test::expect_error;
using test::idx;
using test::TemporaryFolder;

const std::string pixels = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, static_cast<char>(200)};

/// Two images of 2x3 pixels and their labels, of which a test then spoils one.
struct Files {
  TemporaryFolder folder;
  std::filesystem::path images = test::write(folder / "images", idx({2, 2, 3}, pixels));
  std::filesystem::path labels = test::write(folder / "labels", idx({2}, {3, 0}));

  ImageSet load(std::int64_t classes = 4) const { return read_idx(images, labels, classes); }
  void expect_failure(const std::vector<std::string>& parts, std::int64_t classes = 4) const {
    expect_error(ErrorKind::failure, parts, [&] { load(classes); });
  }
};

void expect_the_two_images(const ImageSet& set) {
  EXPECT_EQ(set.channels, 1);
  EXPECT_EQ(set.height, 2);
  EXPECT_EQ(set.width, 3);
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{3, 0}));
  EXPECT_EQ(set.pixels, (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 200}));
}

TEST(Idx, ReadsPlainFiles) { expect_the_two_images(Files().load()); }

TEST(Idx, ReadsCompressedFiles) {
  Files files;
  files.images = test::write_gzip(files.folder / "images.gz", idx({2, 2, 3}, pixels));
  files.labels = test::write_gzip(files.folder / "labels.gz", idx({2}, {3, 0}));
  expect_the_two_images(files.load());
}

TEST(Idx, RefusesWrongMagic) {
  Files files;
  test::write(files.images, idx({2, 6}, pixels));  // a rank that images do not have
  files.expect_failure({files.images.string(), "2050", "not 2051"});
}

TEST(Idx, RefusesSwappedFiles) {
  Files files;
  std::swap(files.images, files.labels);
  files.expect_failure({files.images.string()});
}

TEST(Idx, RefusesAFileShorterThanItsHeader) {
  Files files;
  for (const std::string& bytes : {std::string(), idx({2, 2, 3}, "").substr(0, 15)}) {
    test::write(files.images, bytes);
    files.expect_failure({files.images.string(), "too short"});
  }
}

TEST(Idx, RefusesTruncatedData) {
  Files files;
  test::write(files.images, idx({2, 2, 3}, pixels.substr(1)));
  files.expect_failure({files.images.string(), "11 bytes", "promises 12"});
}

TEST(Idx, RefusesTruncatedCompressedData) {
  Files files;
  files.images = test::write_gzip(files.folder / "images.gz", idx({2, 2, 3}, pixels));
  const std::string whole = test::read(files.images);
  for (const std::size_t missing : {1u, 8u, 12u}) {  // in the checksum, before it, in the data
    test::write(files.images, whole.substr(0, whole.size() - missing));
    files.expect_failure({files.images.string(), "cut off"});
  }
}

TEST(Idx, RefusesDamagedCompressedData) {
  Files files;
  files.images = test::write_gzip(files.folder / "images.gz", idx({2, 2, 3}, pixels));
  std::string bytes = test::read(files.images);
  bytes[bytes.size() - 8] ^= 1;  // the checksum
  test::write(files.images, bytes);
  files.expect_failure({files.images.string(), "damaged"});
}

TEST(Idx, RefusesMoreDataThanPromised) {
  Files files;
  test::write(files.images, idx({2, 2, 3}, pixels + "x"));
  files.expect_failure({files.images.string(), "more than the 12 bytes"});
}

TEST(Idx, ACountThatIsNotBackedByDataTakesNoMemory) {
  Files files;
  test::write(files.images, idx({400000, 100, 100}, pixels));  // 4 GB promised, 12 bytes there
  files.expect_failure({files.images.string(), "12 bytes", "promises 4000000000"});
}

TEST(Idx, RefusesImpossibleShapes) {
  Files files;
  test::write(files.images, idx({0xffffffffu, 0xffffffffu, 0xffffffffu}, pixels));
  files.expect_failure({files.images.string(), "4294967295 pixels a side"});
  test::write(files.images, idx({0xffffffffu, 32000, 32000}, pixels));
  files.expect_failure({files.images.string(), "more than the 4294967296"});
  test::write(files.images, idx({0, 2, 3}, ""));
  files.expect_failure({files.images.string(), "0 items"});
  test::write(files.images, idx({2, 0, 3}, ""));
  files.expect_failure({files.images.string(), "0 pixels a side"});
}

TEST(Idx, ABombIsReadNoFurtherThanPromised) {
  Files files;
  files.images = test::write_gzip(files.folder / "images.gz",
                                  idx({2, 2, 3}, pixels + std::string(50'000'000, '\0')));
  files.expect_failure({files.images.string(), "more than the 12 bytes"});
}

TEST(Idx, RefusesALabelOutOfRange) {
  Files files;
  files.expect_failure({files.labels.string(), "image 0", "label 3", "0 to 2"}, 3);
  test::write(files.labels, idx({2}, {0, static_cast<char>(255)}));
  files.expect_failure({files.labels.string(), "image 1", "label 255"}, 10);
}

TEST(Idx, RefusesDifferentCounts) {
  Files files;
  test::write(files.labels, idx({3}, {0, 1, 2}));
  files.expect_failure({files.images.string(), "2 images", files.labels.string(), "3 labels"});
}

TEST(Idx, NamesAMissingFile) {
  Files files;
  std::filesystem::remove(files.labels);
  files.expect_failure({files.labels.string(), "No such file"});
}

}  // namespace
}  // namespace cmat::data
