#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/data/fetch.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;

/// What an archive may unpack to: far more than any data set here, far less than a disk.
constexpr std::int64_t max_unpacked_bytes = std::int64_t{1} << 33;

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;
using Writer = std::unique_ptr<archive, decltype(&archive_write_free)>;

std::string reason(archive* a) {
  const char* message = archive_error_string(a);
  return message ? message : "unknown reason";
}

Reader open_archive(const fs::path& path) {
  Reader reader(archive_read_new(), &archive_read_free);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_filename(reader.get(), path.c_str(), 1 << 16) != ARCHIVE_OK) {
    failure("cannot open the archive ", path.string(), " (", reason(reader.get()),
            "): delete it and fetch again");
  }
  return reader;
}

/// Where an entry goes. libarchive refuses ".." and links itself, but it would see the whole path,
/// in which an absolute entry no longer shows; so what the archive says is judged first.
fs::path destination(const fs::path& archive_path, archive_entry* entry, const fs::path& folder) {
  const char* raw = archive_entry_pathname(entry);
  const fs::path name = raw ? raw : "";
  const bool climbs = std::find(name.begin(), name.end(), "..") != name.end();
  if (name.empty() || name.is_absolute() || climbs) {
    failure("the archive ", archive_path.string(), " holds \"", name.string(),
            "\", which would leave ", folder.string(), ": do not trust it, and delete it");
  }
  const auto type = archive_entry_filetype(entry);
  if ((type != AE_IFREG && type != AE_IFDIR) || archive_entry_hardlink(entry)) {
    failure("the archive ", archive_path.string(), " holds \"", name.string(),
            "\", which is neither a plain file nor a folder: do not trust it, and delete it");
  }
  return folder / name;
}

void copy_contents(const fs::path& archive_path, archive* reader, archive* writer,
                   std::int64_t& budget) {
  const void* block = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  int code = ARCHIVE_OK;
  while ((code = archive_read_data_block(reader, &block, &size, &offset)) == ARCHIVE_OK) {
    budget -= static_cast<std::int64_t>(size);
    // A sparse entry may skip ahead, so where the block ends counts as well.
    if (budget < 0 || offset > max_unpacked_bytes) {
      failure("the archive ", archive_path.string(), " unpacks to more than ", max_unpacked_bytes,
              " bytes: do not trust it, and delete it");
    }
    if (archive_write_data_block(writer, block, size, offset) < ARCHIVE_OK) {
      failure("cannot unpack ", archive_path.string(), " (", reason(writer),
              "): check the free space, then fetch again");
    }
  }
  if (code != ARCHIVE_EOF) {
    failure("the archive ", archive_path.string(), " is damaged (", reason(reader),
            "): delete it and fetch again");
  }
}

void unpack_entry(const fs::path& archive_path, archive* reader, archive_entry* entry,
                  archive* writer, const fs::path& folder, std::int64_t& budget) {
  const fs::path final_path = destination(archive_path, entry, folder);
  const bool is_file = archive_entry_filetype(entry) == AE_IFREG;
  const fs::path path = is_file ? fs::path(final_path.string() + ".part") : final_path;
  archive_entry_set_pathname(entry, path.c_str());
  archive_entry_set_perm(entry, is_file ? 0644 : 0755);
  const bool written = archive_write_header(writer, entry) == ARCHIVE_OK;
  if (written && is_file) copy_contents(archive_path, reader, writer, budget);
  if (!written || archive_write_finish_entry(writer) < ARCHIVE_OK) {
    failure("cannot unpack ", archive_path.string(), " to ", path.string(), " (", reason(writer),
            "): check the folder and its free space, then fetch again");
  }
  if (is_file) fs::rename(path, final_path);
}

}  // namespace

void unpack_archive(const fs::path& archive_path, const fs::path& folder) {
  try {
    fs::create_directories(folder);
    // The folder itself may lie behind a link of the user's (a larger disk); links below it may
    // not.
    const fs::path real_folder = fs::canonical(folder);
    const Reader reader = open_archive(archive_path);
    const Writer writer(archive_write_disk_new(), &archive_write_free);
    archive_write_disk_set_options(
        writer.get(), ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS);
    std::int64_t budget = max_unpacked_bytes;
    archive_entry* entry = nullptr;
    int code = ARCHIVE_OK;
    while ((code = archive_read_next_header(reader.get(), &entry)) == ARCHIVE_OK) {
      unpack_entry(archive_path, reader.get(), entry, writer.get(), real_folder, budget);
    }
    if (code != ARCHIVE_EOF) {
      failure("the archive ", archive_path.string(), " is damaged (", reason(reader.get()),
              "): delete it and fetch again");
    }
  } catch (const fs::filesystem_error& error) {
    failure("cannot unpack ", archive_path.string(), " into ", folder.string(), " (",
            error.code().message(), "): check the folder and its free space");
  }
}

}  // namespace cmat::data
