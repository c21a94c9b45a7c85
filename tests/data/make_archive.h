// Archives for the tests of unpacking, good and evil.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace cmat::test {

struct ArchiveEntry {
  std::string name;
  std::string contents = {};
  unsigned type = AE_IFREG;
  std::string link = {};      ///< of a symbolic link
  std::string hardlink = {};  ///< makes the entry a hard link
};

/// Writes a .tar.gz with exactly these names: nothing is cleaned up.
inline void make_archive(const std::filesystem::path& path,
                         const std::vector<ArchiveEntry>& entries) {
  archive* out = archive_write_new();
  archive_write_add_filter_gzip(out);
  archive_write_set_format_pax_restricted(out);
  if (archive_write_open_filename(out, path.c_str()) != ARCHIVE_OK) {
    throw std::runtime_error("cannot write " + path.string());
  }
  for (const ArchiveEntry& each : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, each.name.c_str());
    archive_entry_set_filetype(entry, each.type);
    archive_entry_set_perm(entry, 0777);
    archive_entry_set_size(entry, static_cast<la_int64_t>(each.contents.size()));
    if (!each.link.empty()) archive_entry_set_symlink(entry, each.link.c_str());
    if (!each.hardlink.empty()) archive_entry_set_hardlink(entry, each.hardlink.c_str());
    archive_write_header(out, entry);
    archive_write_data(out, each.contents.data(), each.contents.size());
    archive_entry_free(entry);
  }
  archive_write_close(out);
  archive_write_free(out);
}

}  // namespace cmat::test
