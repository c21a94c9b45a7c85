#include <algorithm>
#include <set>

#include "cmat/core/config.h"
#include "cmat/data/batch.h"
#include "cmat/data/loader.h"
#include "cmat/data/resize.h"
#include "cmat/data/statistics.h"
#include "cmat/data/stream.h"
#include "data/helpers.h"
#include "data/make_picture.h"

namespace cmat::data {
namespace {

using namespace test;
namespace fs = std::filesystem;

class FolderTest : public ::testing::Test {
 protected:
  /// A picture of one colour, told by `level`.
  static std::string flat(int level, int width = 20, int height = 12) {
    return make_png(paint(width, height, 3,
                          [=](int, int, int c) { return static_cast<std::uint8_t>(level + c); }));
  }

  Source load() {
    ::testing::internal::CaptureStderr();
    try {
      Source source = load_source(options_);
      said_ = ::testing::internal::GetCapturedStderr();
      return source;
    } catch (...) {
      said_ = ::testing::internal::GetCapturedStderr();
      throw;
    }
  }

  static std::vector<std::uint8_t> image(const ImageSet& set, std::int64_t index) {
    std::vector<std::uint8_t> buffer;
    const auto pixels = image_pixels(set, index, buffer);
    return {pixels.begin(), pixels.end()};
  }

  void write_two_splits() {
    write(root_ / "train/owl/b.png", flat(10));
    write(root_ / "train/owl/a.PNG", flat(20));
    write(root_ / "train/Zebra/x.jpeg", flat(30));  // a PNG whatever its name says
    write(root_ / "train/Zebra/notes.txt", "no picture");
    write(root_ / "train/.hidden/x.png", flat(99));
    write(root_ / "test/owl/t.png", flat(40));
    write(root_ / "test/Zebra/t.png", flat(50));
  }

  TemporaryFolder folder_;
  const fs::path root_ = folder_ / "photos";
  SourceOptions options_ = [&] {
    SourceOptions o;
    o.name = "folder";
    o.root = root_;
    o.folder.size = 8;
    o.folder.workers = 2;
    return o;
  }();
  std::string said_;
};

TEST_F(FolderTest, HasClassesAndFilesInBytewiseOrder) {
  write_two_splits();
  const Source source = load();
  EXPECT_EQ(said_, "");
  EXPECT_EQ(source.name, "photos/");
  EXPECT_EQ(source.class_names, (std::vector<std::string>{"Zebra", "owl"}));
  EXPECT_EQ(source.train.labels, (std::vector<std::int32_t>{0, 1, 1}));
  EXPECT_EQ(source.test.labels, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(source.train.channels, 3);
  EXPECT_EQ(source.train.height, 8);
  EXPECT_EQ(source.train.width, 8);
  for (const auto& [index, level] : {std::pair(0, 30), std::pair(1, 20), std::pair(2, 10)}) {
    const auto pixels = image(source.train, index);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      ASSERT_EQ(pixels[i], level + static_cast<int>(i) / 64);
    }
  }
  EXPECT_EQ(images_per_class(source.train, 2), (std::vector<std::int64_t>{1, 2}));
  EXPECT_NEAR(channel_statistics(source.train).mean[1], 21.0 / 255, 1e-12);
}

TEST_F(FolderTest, CutsTheMiddleOutOrSquashes) {
  const Canvas canvas = gradient(40, 16);
  write(root_ / "train/a/1.png", make_png(canvas));
  write(root_ / "train/b/1.png", make_png(canvas));
  write(root_ / "test/a/1.png", make_png(canvas));
  write(root_ / "test/b/1.png", make_png(canvas));
  const std::string file = make_png(canvas);
  const Picture whole = decode_picture(std::as_bytes(std::span(file)), {});
  EXPECT_EQ(image(load().train, 0), centre_crop(resize(whole, 8, 20), 8).pixels);
  options_.folder.resize = "squash";
  EXPECT_EQ(image(load().train, 0), resize(whole, 8, 8).pixels);
  options_.grey = true;
  const Source grey = load();
  EXPECT_EQ(grey.train.channels, 1);
  EXPECT_EQ(image(grey.train, 0).size(), 64u);
}

TEST_F(FolderTest, WithoutATestFolderDrawsAShareOfEachClass) {
  for (int i = 0; i < 30; ++i) {
    write(root_ / text("train/a/", i, ".png"), flat(i));
    if (i < 10) write(root_ / text("train/b/", i, ".png"), flat(i));
  }
  const Source source = load();
  EXPECT_EQ(images_per_class(source.train, 2), (std::vector<std::int64_t>{24, 8}));
  EXPECT_EQ(images_per_class(source.test, 2), (std::vector<std::int64_t>{6, 2}));
  for (std::size_t i = 0; i < 40; ++i) {  // every picture in exactly one split
    EXPECT_EQ((source.train.labels[i] >= 0) + (source.test.labels[i] >= 0), 1);
  }
  EXPECT_EQ(load().test.labels, source.test.labels);
  options_.seed = 2;
  EXPECT_NE(load().test.labels, source.test.labels);
  options_.folder.test_share = 0.5;
  EXPECT_EQ(images_per_class(load().test, 2), (std::vector<std::int64_t>{15, 5}));
}

TEST_F(FolderTest, TakesClassesRightUnderItsRoot) {
  for (int i = 0; i < 5; ++i) {
    write(root_ / text("a/", i, ".png"), flat(i));
    write(root_ / text("b/", i, ".webp"), make_webp(gradient(9, 9)));
  }
  const Source source = load();
  EXPECT_EQ(source.class_names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(images_per_class(source.test, 2), (std::vector<std::int64_t>{1, 1}));
}

TEST_F(FolderTest, LeavesDamagedFilesOutWithoutShiftingOthers) {
  write_two_splits();
  write(root_ / "train/owl/c.png", flat(60));
  const Source whole = load();
  write(root_ / "train/owl/a.PNG", flat(20).substr(0, 60));
  write(root_ / "train/Zebra/empty.jpg", "");
  const Source source = load();
  // Zebra/empty, Zebra/x, owl/a, owl/b, owl/c
  EXPECT_EQ(source.train.labels, (std::vector<std::int32_t>{-1, 0, -1, 1, 1}));
  EXPECT_EQ(image(source.train, 3), image(whole.train, 2));
  EXPECT_EQ(images_per_class(source.train, 2), (std::vector<std::int64_t>{1, 2}));
  const auto first =
      said_.find("warning: cannot use the picture " + (root_ / "train/Zebra/empty.jpg").string());
  const auto second = said_.find("warning: cannot use the picture " +
                                 (root_ / "train/owl/a.PNG").string() + ": it is a damaged PNG");
  EXPECT_NE(first, std::string::npos) << said_;
  EXPECT_NE(second, std::string::npos) << said_;
  EXPECT_LT(first, second);
  std::vector<std::uint8_t> buffer;
  expect_error(ErrorKind::failure, {"image 2", "no such image"},
               [&] { image_pixels(source.train, 2, buffer); });

  options_.folder.corrupt = "fail";
  expect_error(ErrorKind::failure, {"Zebra/empty.jpg", "the file is empty", "data.corrupt"},
               [&] { load(); });
}

TEST_F(FolderTest, ReadsTheSameWhateverIsCached) {
  for (int i = 0; i < 6; ++i) {
    write(root_ / text("a/", i, ".jpg"), make_jpeg(gradient(100 + i, 70)));
    write(root_ / text("b/", i, ".jpg"), make_jpeg(gradient(50, 90 + i)));
  }
  const Augmentation augmentation{.flip = true, .random_resized_crop = 0.5};
  const auto batch = [&](std::int64_t cache_mb, bool keep_larger) {
    options_.folder.cache_mb = cache_mb;
    options_.folder.keep_larger = keep_larger;
    const Source source = load();
    std::vector<std::int64_t> indices;
    for (std::int64_t i = 0; i < source.train.size(); ++i) {
      if (source.train.labels[static_cast<std::size_t>(i)] >= 0) indices.push_back(i);
    }
    std::vector<float> pixels(2 * indices.size() * 192);
    const auto half = pixels.size() / 2;
    fill_batch(source.train, indices, {}, {}, std::span(pixels).first(half));
    fill_batch(source.train, indices, augmentation, {}, std::span(pixels).last(half));
    return pixels;
  };
  const auto reference = batch(1024, true);
  EXPECT_EQ(batch(0, true), reference);
  EXPECT_EQ(batch(0, false), reference);
  EXPECT_EQ(batch(1024, false), reference);
}

TEST_F(FolderTest, CutsRandomPartsFromALargerPicture) {
  write(root_ / "train/a/1.jpg", make_jpeg(gradient(80, 40)));
  write(root_ / "train/b/1.png", flat(1, 9, 9));
  write(root_ / "test/a/1.png", flat(1));
  write(root_ / "test/b/1.png", flat(1));
  const Source source = load();
  const auto large = source.train.reader->read_larger(0);
  EXPECT_EQ(large->height, 12);  // one and a half times the size
  EXPECT_EQ(large->width, 24);
  EXPECT_EQ(source.train.reader->read_larger(1)->height, 9);  // never enlarged
}

TEST_F(FolderTest, AFileThatVanishesIsAFailureThatNamesIt) {
  write_two_splits();
  options_.folder.cache_mb = 0;
  const Source source = load();
  fs::remove(root_ / "train/owl/b.png");
  std::vector<std::uint8_t> buffer;
  expect_error(ErrorKind::failure, {"owl/b.png"}, [&] { image_pixels(source.train, 2, buffer); });
}

TEST_F(FolderTest, RefusesFoldersThatHoldNoPictures) {
  options_.root = "";
  expect_error(ErrorKind::usage, {"data.root"}, [&] { load(); });
  options_.root = folder_ / "nowhere";
  expect_error(ErrorKind::failure, {"there is no folder", "nowhere"}, [&] { load(); });
  fs::create_directories(folder_ / "empty/a");
  options_.root = folder_ / "empty";
  expect_error(ErrorKind::failure, {"no pictures in", "empty", ".webp"}, [&] { load(); });
  options_.root = root_;
  write_two_splits();
  write(root_ / "test/lion/t.png", flat(1));
  expect_error(ErrorKind::failure, {"lion", "without training pictures"}, [&] { load(); });
}

TEST_F(FolderTest, IsATaskOfAStreamBesideOthers) {
  for (int i = 0; i < 10; ++i) {
    for (const char* name : {"cat", "dog", "owl"}) {
      write(root_ / name / text(i, ".png"), flat(10 * i, 12 + i, 12));
    }
  }
  Config config = Config::parse(text(R"(
[data]
validation = 0.25
grey = true
[[task]]
name = "digits"
source = "synthetic"
classes = [4, 2]
[task.synthetic]
height = 5
[[task]]
source = "folder"
root = ")",
                                     root_.string(), R"("
size = 8
classes = ["owl", "cat"]
[[task]]
source = "folder"
root = ")",
                                     root_.string(), R"("
size = 8
)"),
                                "test");
  const StreamOptions options = read_stream_options(config, 1);
  config.finish();
  const Stream stream = make_stream(options);
  ASSERT_EQ(stream.tasks.size(), 3u);
  EXPECT_EQ(stream.tasks[0].name, "digits");
  EXPECT_EQ(stream.tasks[0].classes, (std::vector<std::int64_t>{4, 2}));
  EXPECT_EQ(stream.tasks[0].source->train.height, 5);
  EXPECT_EQ(stream.tasks[0].source->train.channels, 1);
  EXPECT_EQ(stream.tasks[1].name, "owl/cat");
  EXPECT_EQ(stream.tasks[1].classes, (std::vector<std::int64_t>{2, 0}));
  EXPECT_EQ(stream.tasks[1].train.size(), 12u);  // 8 of 10 a class for training, 2 validate
  EXPECT_EQ(stream.tasks[1].validation.size(), 4u);
  EXPECT_EQ(stream.tasks[1].test.size(), 4u);
  EXPECT_EQ(stream.tasks[2].name, "photos/");
  EXPECT_EQ(stream.tasks[2].class_names, (std::vector<std::string>{"cat", "dog", "owl"}));
  EXPECT_EQ(stream.tasks[1].source, stream.tasks[2].source);  // opened once
  EXPECT_EQ(stream.source_names(), "synthetic, photos/");
}

}  // namespace
}  // namespace cmat::data
