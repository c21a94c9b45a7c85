// data/unpack: .tar.gz files. The input is the tar, so that mutations are not stopped by gzip's
// checksum; inputs that begin like gzip are taken as they are.
#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <stdexcept>

#include "cmat/data/fetch.h"
#include "core/temporary_folder.h"
#include "fuzz/input_file.h"
#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

namespace fs = std::filesystem;

std::string tar(bool compressed) {
  std::string bytes(64 << 10, '\0');
  std::size_t used = 0;
  archive* out = archive_write_new();
  if (compressed) archive_write_add_filter_gzip(out);
  archive_write_set_format_pax_restricted(out);
  archive_write_set_bytes_in_last_block(out, 1);
  archive_write_open_memory(out, bytes.data(), bytes.size(), &used);
  for (const std::string name : {"folder/a.bin", "b"}) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, 3);
    archive_write_header(out, entry);
    archive_write_data(out, "xyz", 3);
    archive_entry_free(entry);
  }
  archive_write_close(out);
  archive_write_free(out);
  bytes.resize(used);
  return bytes;
}

}  // namespace

std::vector<Target> archive_targets() {
  const auto folder = std::make_shared<test::TemporaryFolder>();
  const auto file = std::make_shared<InputFile>();
  // What is unpacked stays below `inside`; whatever lies beside it has escaped.
  const auto run = [=](std::string_view input) {
    file->write(input);
    const auto check = [&] {
      for (const auto& entry : fs::directory_iterator(folder->path())) {
        if (entry.path().filename() != "inside") throw std::logic_error("a file escaped");
      }
      fs::remove_all(*folder / "inside");
    };
    try {
      data::unpack_archive(file->path(), *folder / "inside");
    } catch (...) {
      check();
      throw;
    }
    check();
  };
  return {{.name = "archive",
           .run = run,
           .seeds = {tar(false), tar(true)},
           .words = {"../", "/", "ustar", "GNU.sparse.size=99999999999", "path=../../x",
                     "linkpath=/", "00000000003", "77777777777", std::string(1, '5'),
                     std::string(1, '2'), "././@LongLink", std::string(512, '\0')}}};
}

}  // namespace cmat::fuzz
