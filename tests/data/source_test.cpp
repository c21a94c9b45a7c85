#include "cmat/data/source.h"

#include "cmat/data/fetch.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;
using test::cifar_record;
using test::expect_error;
using test::idx;
using test::TemporaryFolder;

/// Relative places (data/NAME) are looked up in a folder of the test's own.
class SourceTest : public ::testing::Test {
 protected:
  SourceTest() : before_(fs::current_path()) { fs::current_path(folder_.path()); }
  ~SourceTest() override { fs::current_path(before_); }

  static void write_idx_files(const fs::path& folder) {
    test::write(folder / "train-images-idx3-ubyte", idx({3, 2, 2}, std::string(12, 'a')));
    test::write(folder / "train-labels-idx1-ubyte", idx({3}, {0, 1, 2}));
    test::write(folder / "t10k-images-idx3-ubyte", idx({2, 2, 2}, std::string(8, 'b')));
    test::write(folder / "t10k-labels-idx1-ubyte", idx({2}, {3, 0}));
  }

  static void write_cifar10_files(const fs::path& folder) {
    for (int i = 1; i <= 5; ++i) {
      test::write(folder / text("data_batch_", i, ".bin"), cifar_record({i}, i));
    }
    test::write(folder / "test_batch.bin", cifar_record({9}, 9) + cifar_record({0}, 0));
  }

  Source load(const std::string& name, const fs::path& root = {}) const {
    SourceOptions options;
    options.name = name;
    options.root = root;
    return load_source(options);
  }

  TemporaryFolder folder_;

 private:
  fs::path before_;
};

TEST_F(SourceTest, NamesAreTheDocumentedOnes) {
  EXPECT_EQ(source_names(),
            (std::vector<std::string>{"cifar10", "cifar100", "mnist", "fashion-mnist", "idx",
                                      "folder", "synthetic"}));
}

TEST_F(SourceTest, AnUnknownNameIsRefusedWithAGuess) {
  expect_error(ErrorKind::usage, {"\"cifar01\"", "did you mean \"cifar10\"", "synthetic"},
               [&] { load("cifar01"); });
  expect_error(ErrorKind::usage, {"\"nothing-like-it\"", "choose one of cifar10"},
               [&] { load("nothing-like-it"); });
}

TEST_F(SourceTest, MissingDataSaysHowToGetIt) {
  for (const RemoteSource& remote : remote_sources()) {
    expect_error(ErrorKind::failure,
                 {remote.name, "`cmat data fetch " + remote.name + "`", "data.root", "nowhere"},
                 [&] { load(remote.name, "nowhere"); });
  }
  expect_error(ErrorKind::failure, {"idx", "data.root", "data/idx"}, [&] { load("idx"); });
}

TEST_F(SourceTest, AnIncompleteFolderNamesTheMissingFile) {
  write_idx_files(folder_ / "here");
  fs::remove(folder_ / "here/t10k-labels-idx1-ubyte");
  EXPECT_TRUE(find_source("mnist", "here").empty());
  expect_error(ErrorKind::failure,
               {"here/t10k-labels-idx1-ubyte is missing", "`cmat data fetch mnist`"},
               [&] { load("mnist", "here"); });
  write_cifar10_files(folder_ / "c/cifar-10-batches-bin");
  fs::remove(folder_ / "c/cifar-10-batches-bin/data_batch_4.bin");
  expect_error(ErrorKind::failure, {"c/cifar-10-batches-bin/data_batch_4.bin is missing"},
               [&] { load("cifar10", "c"); });
}

TEST_F(SourceTest, FindsDataBelowTheWorkingDirectory) {
  EXPECT_TRUE(find_source("mnist", {}).empty());
  write_idx_files("data/mnist");
  EXPECT_EQ(find_source("mnist", {}), fs::path("data/mnist"));
  EXPECT_TRUE(find_source("synthetic", {}).empty());
}

TEST_F(SourceTest, AGivenRootIsTheOnlyPlace) {
  write_idx_files("data/mnist");
  EXPECT_TRUE(find_source("mnist", "elsewhere").empty());
  write_idx_files("data/fashion-mnist");
  EXPECT_TRUE(find_source("fashion-mnist", "elsewhere").empty());
}

TEST_F(SourceTest, TheWorkingDirectoryGoesBeforeTheSystem) {
  write_idx_files("data/fashion-mnist");
  EXPECT_EQ(find_source("fashion-mnist", {}), fs::path("data/fashion-mnist"));
}

TEST_F(SourceTest, Mnist) {
  write_idx_files("m");
  const Source source = load("mnist", "m");
  EXPECT_EQ(source.name, "mnist");
  EXPECT_EQ(source.class_names.size(), 10u);
  EXPECT_EQ(source.class_names[7], "7");
  EXPECT_EQ(source.train.labels, (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(source.test.labels, (std::vector<std::int32_t>{3, 0}));
  EXPECT_EQ(source.train.pixels[0], 'a');
  EXPECT_EQ(source.test.pixels[0], 'b');
}

TEST_F(SourceTest, PlainAndCompressedFilesMayBeMixed) {
  write_idx_files("m");
  fs::remove("m/train-images-idx3-ubyte");
  test::write_gzip("m/train-images-idx3-ubyte.gz", idx({3, 2, 2}, std::string(12, 'z')));
  EXPECT_EQ(load("mnist", "m").train.pixels[0], 'z');
}

TEST_F(SourceTest, FashionMnistHasItsNames) {
  write_idx_files("f");
  EXPECT_EQ(load("fashion-mnist", "f").class_names,
            (std::vector<std::string>{"T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                                      "Shirt", "Sneaker", "Bag", "Ankle boot"}));
}

TEST_F(SourceTest, FashionMnistOfDebian) {
  if (!fs::exists("/usr/share/datasets/fashion-mnist")) {
    GTEST_SKIP() << "the Debian package dataset-fashion-mnist is not installed";
  }
  const Source source = load("fashion-mnist");
  EXPECT_EQ(source.train.size(), 60000);
  EXPECT_EQ(source.test.size(), 10000);
  EXPECT_EQ(source.train.height, 28);
  EXPECT_EQ(source.train.width, 28);
  EXPECT_EQ(source.train.labels[0], 9);  // the first training image is an ankle boot
}

TEST_F(SourceTest, IdxHasAsManyClassesAsItsLargestLabelSays) {
  write_idx_files("i");
  EXPECT_EQ(load("idx", "i").class_names, (std::vector<std::string>{"0", "1", "2", "3"}));
}

TEST_F(SourceTest, BothSplitsMustHaveOneImageSize) {
  write_idx_files("i");
  test::write("i/t10k-images-idx3-ubyte", idx({2, 4, 1}, std::string(8, 'b')));
  expect_error(ErrorKind::failure, {"i/train-images", "2x2", "i/t10k-images", "4x1"},
               [&] { load("idx", "i"); });
}

TEST_F(SourceTest, Cifar10FromItsFolderOrTheParent) {
  write_cifar10_files("parent/cifar-10-batches-bin");
  for (const char* root : {"parent", "parent/cifar-10-batches-bin"}) {
    const Source source = load("cifar10", root);
    EXPECT_EQ(source.train.labels, (std::vector<std::int32_t>{1, 2, 3, 4, 5}));
    EXPECT_EQ(source.test.labels, (std::vector<std::int32_t>{9, 0}));
    EXPECT_EQ(source.class_names.size(), 10u);
    EXPECT_EQ(source.class_names[0], "airplane");
    EXPECT_EQ(source.class_names[9], "truck");
  }
}

TEST_F(SourceTest, Cifar100FromWhereFetchPutsIt) {
  test::write("data/cifar100/cifar-100-binary/train.bin", cifar_record({4, 0}, 1));
  test::write("data/cifar100/cifar-100-binary/test.bin", cifar_record({13, 99}, 2));
  const Source source = load("cifar100");
  EXPECT_EQ(source.train.labels, (std::vector<std::int32_t>{0}));
  EXPECT_EQ(source.test.labels, (std::vector<std::int32_t>{99}));
  EXPECT_EQ(source.class_names, cifar100_class_names());
}

TEST_F(SourceTest, SyntheticTakesItsOptionsAndSeed) {
  SourceOptions options;
  options.seed = 9;
  options.synthetic.classes = 4;
  const Source source = load_source(options);
  EXPECT_EQ(source.class_names.size(), 4u);
  EXPECT_EQ(source.train.pixels, make_synthetic(options.synthetic, 9).train.pixels);
}

}  // namespace
}  // namespace cmat::data
