// Files that are either the old one or the new one, digests, and the lock of a run folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

namespace cmat {

/// The whole file. Throws a failure that names the path and the reason.
std::string read_file(const std::filesystem::path& path);

/// Replaces `path` so that a crash at any instant leaves the old or the new content, never a
/// mixture: writes a temporary file beside it, fsyncs, renames, fsyncs the folder.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

/// Renames; `to` is replaced if it is there.
void move_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Gives the file a second name (a copy where hard links are impossible). `kept` is replaced in one
/// step, and `path` goes on existing all the time.
void keep_file_as(const std::filesystem::path& path, const std::filesystem::path& kept);

/// Appends and flushes. Returns the size of the file afterwards, in bytes.
std::uint64_t append_file(const std::filesystem::path& path, std::string_view content);

/// Cuts the file to `size` bytes (a shorter or missing file is a failure).
void truncate_file(const std::filesystem::path& path, std::uint64_t size);

/// Lower-case hexadecimal digest.
std::string sha256_hex(std::string_view bytes);
/// Of the parts one after the other, without a copy of them all.
std::string sha256_hex_of_parts(std::initializer_list<std::string_view> parts);
std::string md5_hex_of_file(const std::filesystem::path& path);
std::string sha256_hex_of_file(const std::filesystem::path& path);

/// Exclusive use of a folder by this process, kept until destruction and freed by the system if the
/// process dies (flock on DIR/lock). Throws a failure that says which process holds it.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace cmat
