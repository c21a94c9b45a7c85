#include "cmat/core/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat {
namespace {

namespace fs = std::filesystem;
using test::expect_failure;
using test::TemporaryFolder;

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(ReadFile, GivesEveryByte) {
  const TemporaryFolder folder;
  std::string content(3'000'000, 'x');
  content[0] = '\0';
  content[1'048'576] = '\n';
  std::ofstream(folder / "file", std::ios::binary) << content;
  EXPECT_EQ(read_file(folder / "file"), content);
  std::ofstream(folder / "empty");
  EXPECT_EQ(read_file(folder / "empty"), "");
}

TEST(ReadFile, NamesThePathAndTheReason) {
  const TemporaryFolder folder;
  expect_failure({(folder / "none").string(), "No such file"}, [&] { read_file(folder / "none"); });
  expect_failure({folder.path().string(), "directory"}, [&] { read_file(folder.path()); });
}

TEST(WriteFileAtomic, CreatesAndReplacesAndLeavesNothingElse) {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  write_file_atomic(path, std::string("a\0b", 3));
  EXPECT_EQ(read_file(path), std::string("a\0b", 3));
  write_file_atomic(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(WriteFileAtomic, NeverTouchesTheOldFileItself) {
  // A reader that has the old file open, or a hard link to it, must go on seeing the old content.
  const TemporaryFolder folder;
  write_file_atomic(folder / "file", "old content");
  fs::create_hard_link(folder / "file", folder / "old");
  write_file_atomic(folder / "file", "new");
  EXPECT_EQ(read_file(folder / "old"), "old content");
  EXPECT_EQ(read_file(folder / "file"), "new");
}

TEST(WriteFileAtomic, ReusesWhatACrashLeftBehind) {
  const TemporaryFolder folder;
  std::ofstream(folder / ".file.tmp") << "half of a much longer content";
  write_file_atomic(folder / "file", "new");
  EXPECT_EQ(read_file(folder / "file"), "new");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(WriteFileAtomic, AFailureLeavesNoTemporaryFile) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "taken/inside");
  expect_failure({(folder / "taken").string()}, [&] { write_file_atomic(folder / "taken", "x"); });
  EXPECT_TRUE(fs::is_directory(folder / "taken/inside"));
  EXPECT_EQ(entries(folder.path()), 1u);
  expect_failure({"none/file", "No such file"},
                 [&] { write_file_atomic(folder / "none/file", "x"); });
}

TEST(WriteFileAtomic, TheFileIsReadableAsTheUmaskSays) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(022);
  write_file_atomic(folder / "file", "x");
  ::umask(before);
  const auto permissions = fs::status(folder / "file").permissions();
  EXPECT_EQ(static_cast<unsigned>(permissions) & 0777u, 0644u);
}

TEST(WriteFileAtomic, AcceptsARelativePath) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  EXPECT_NO_THROW(write_file_atomic("plain", "x"));
  fs::current_path(before);
  EXPECT_EQ(read_file(folder / "plain"), "x");
}

TEST(WriteFileAtomic, WritersAtTheSameTimeNeverMix) {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  write_file_atomic(path, std::string(100'000, 'a'));
  std::vector<std::thread> writers;
  for (const char letter : {'a', 'b', 'c'}) {
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 20; ++i) write_file_atomic(path, std::string(100'000, letter));
    });
  }
  int mixed = 0;
  for (int i = 0; i < 60; ++i) {
    const std::string content = read_file(path);
    if (content != std::string(100'000, content.empty() ? '?' : content[0])) ++mixed;
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(mixed, 0);
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(AppendFile, ReturnsTheSizeAfterwards) {
  const TemporaryFolder folder;
  EXPECT_EQ(append_file(folder / "log", "one\n"), 4u);
  EXPECT_EQ(append_file(folder / "log", "three\n"), 10u);
  EXPECT_EQ(read_file(folder / "log"), "one\nthree\n");
}

TEST(AppendFile, SaysThatTheDiskIsFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  expect_failure({"/dev/full", "No space left", "free some space"},
                 [] { append_file("/dev/full", "x"); });
}

TEST(TruncateFile, CutsAndRefusesToGrow) {
  const TemporaryFolder folder;
  append_file(folder / "log", "0123456789");
  truncate_file(folder / "log", 10);
  truncate_file(folder / "log", 4);
  EXPECT_EQ(read_file(folder / "log"), "0123");
  expect_failure({"log", "only 4 of the 5"}, [&] { truncate_file(folder / "log", 5); });
  EXPECT_EQ(read_file(folder / "log"), "0123");
  expect_failure({"none"}, [&] { truncate_file(folder / "none", 0); });
  EXPECT_FALSE(fs::exists(folder / "none"));
}

TEST(Digest, KnownAnswers) {
  // FIPS 180-2 and RFC 1321.
  const std::string sha_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const TemporaryFolder folder;
  write_file_atomic(folder / "abc", "abc");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), sha_abc);
  EXPECT_EQ(sha256_hex_of_parts({"a", "", "bc"}), sha_abc);
  EXPECT_EQ(sha256_hex_of_file(folder / "abc"), sha_abc);
  EXPECT_EQ(md5_hex_of_file(folder / "abc"), "900150983cd24fb0d6963f7d28e17f72");
  expect_failure({"none"}, [&] { md5_hex_of_file(folder / "none"); });
}

TEST(Digest, OfAFileLongerThanOnePiece) {
  const TemporaryFolder folder;
  const std::string content(2'500'000, 'z');
  write_file_atomic(folder / "long", content);
  EXPECT_EQ(sha256_hex_of_file(folder / "long"), sha256_hex(content));
}

TEST(FolderLock, IsExclusiveAndSaysWhoHoldsIt) {
  const TemporaryFolder folder;
  std::optional<FolderLock> first(folder.path());
  expect_failure({folder.path().string(), text("process ", ::getpid())},
                 [&] { FolderLock second(folder.path()); });
  first.reset();
  EXPECT_EQ(read_file(folder / "lock"), "");  // a free lock names nobody
  EXPECT_NO_THROW(FolderLock(folder.path()));
}

TEST(FolderLock, IsFreedWhenItsProcessIsKilled) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const FolderLock lock(folder.path());
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(ready[1]);
  char byte = 0;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  expect_failure({text("process ", child)}, [&] { FolderLock lock(folder.path()); });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(FolderLock(folder.path()));
}

TEST(FolderLock, AMissingFolderIsNamed) {
  const TemporaryFolder folder;
  expect_failure({"none/lock"}, [&] { FolderLock lock(folder / "none"); });
}

}  // namespace
}  // namespace cmat
