#include <sys/stat.h>

#include "cmat/data/fetch.h"
#include "data/helpers.h"
#include "data/make_archive.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::make_archive;

class UnpackTest : public ::testing::Test {
 protected:
  fs::path archive_path() const { return folder_ / "a.tar.gz"; }
  fs::path inside() const { return folder_ / "in/side"; }

  /// Unpacking fails and says why, and nothing but the archive and the folder is there afterwards.
  void expect_refused(const std::vector<test::ArchiveEntry>& entries,
                      const std::vector<std::string>& parts) {
    make_archive(archive_path(), entries);
    std::vector<std::string> all = parts;
    all.push_back(archive_path().string());
    expect_error(ErrorKind::failure, all, [&] { unpack_archive(archive_path(), inside()); });
    EXPECT_TRUE(fs::is_empty(inside()));
    EXPECT_FALSE(fs::exists(folder_ / "evil"));
    EXPECT_FALSE(fs::exists(folder_ / "in/evil"));
  }

  test::TemporaryFolder folder_;
};

TEST_F(UnpackTest, WritesFilesAndFoldersAndNoMore) {
  make_archive(archive_path(), {{.name = "./x/", .type = AE_IFDIR},
                                {.name = "./x/a", .contents = "1"},
                                {.name = "y/z/b", .contents = std::string(500000, 'b')},
                                {.name = "empty"}});
  unpack_archive(archive_path(), inside());
  EXPECT_EQ(test::read(inside() / "x/a"), "1");
  EXPECT_EQ(test::read(inside() / "y/z/b"), std::string(500000, 'b'));
  EXPECT_EQ(fs::file_size(inside() / "empty"), 0u);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(inside())) {
    files += entry.is_regular_file();
    EXPECT_NE(entry.path().extension(), ".part");
  }
  EXPECT_EQ(files, 3u);
  struct stat status {};
  ASSERT_EQ(stat((inside() / "x/a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0111u, 0u);  // 0777 in the archive, but data is nothing to execute
}

TEST_F(UnpackTest, RefusesToClimbOut) {
  expect_refused({{.name = "../evil", .contents = "e"}}, {"\"../evil\"", "leave"});
  expect_refused({{.name = "a/../../evil", .contents = "e"}}, {"\"a/../../evil\"", "leave"});
  expect_refused({{.name = "../evil/", .type = AE_IFDIR}}, {"\"../evil", "leave"});
}

TEST_F(UnpackTest, RefusesAbsolutePaths) {
  const std::string evil = (folder_ / "evil").string();
  expect_refused({{.name = evil, .contents = "e"}}, {"\"" + evil + "\"", "leave"});
}

TEST_F(UnpackTest, RefusesLinks) {
  expect_refused(
      {{.name = "link", .type = AE_IFLNK, .link = ".."}, {.name = "link/evil", .contents = "e"}},
      {"\"link\"", "neither a plain file nor a folder"});
  test::write(folder_ / "secret", "s");
  for (const char* contents : {"", "body"}) {
    expect_refused(
        {{.name = "hard", .contents = contents, .hardlink = (folder_ / "secret").string()}},
        {"\"hard\"", "neither a plain file nor a folder"});
  }
}

TEST_F(UnpackTest, RefusesPipes) {
  expect_refused({{.name = "pipe", .type = AE_IFIFO}}, {"\"pipe\"", "neither"});
}

TEST_F(UnpackTest, DoesNotWriteThroughALinkThatIsThere) {
  fs::create_directories(inside());
  fs::create_directories(folder_ / "outside");
  fs::create_directory_symlink(folder_ / "outside", inside() / "link");
  make_archive(archive_path(), {{.name = "link/evil", .contents = "e"}});
  expect_error(ErrorKind::failure, {archive_path().string()},
               [&] { unpack_archive(archive_path(), inside()); });
  EXPECT_TRUE(fs::is_empty(folder_ / "outside"));
}

TEST_F(UnpackTest, TheFolderItselfMayBeALink) {
  fs::create_directories(folder_ / "disk");
  fs::create_directory_symlink(folder_ / "disk", folder_ / "data");
  make_archive(archive_path(), {{.name = "x/a", .contents = "1"}});
  unpack_archive(archive_path(), folder_ / "data");
  EXPECT_EQ(test::read(folder_ / "disk/x/a"), "1");
}

TEST_F(UnpackTest, ATruncatedArchiveLeavesNoHalfFileUnderItsName) {
  std::string noise;
  for (unsigned i = 0, value = 1; i < 200000; ++i) {
    value = value * 1664525u + 1013904223u;
    noise += static_cast<char>(value >> 24);
  }
  make_archive(archive_path(), {{.name = "big", .contents = noise}});
  const std::string bytes = test::read(archive_path());
  test::write(archive_path(), bytes.substr(0, bytes.size() / 2));
  expect_error(ErrorKind::failure, {archive_path().string(), "damaged", "fetch again"},
               [&] { unpack_archive(archive_path(), inside()); });
  EXPECT_FALSE(fs::exists(inside() / "big"));
}

TEST_F(UnpackTest, WhatIsNoArchiveIsAFailure) {
  test::write(archive_path(), "<html>not here</html>");
  expect_error(ErrorKind::failure, {archive_path().string()},
               [&] { unpack_archive(archive_path(), inside()); });
  expect_error(ErrorKind::failure, {"absent.tar.gz"},
               [&] { unpack_archive(folder_ / "absent.tar.gz", inside()); });
}

}  // namespace
}  // namespace cmat::data
