// The pictures of a folder as images of one size: decoded when they are asked for, and kept as far
// as there is room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cmat/data/image_set.h"
#include "cmat/data/source.h"

namespace cmat::data {

/// Whether a file's name ends as those of JPEG, PNG and WebP files do.
bool is_picture_name(const std::string& name);

class FolderReader : public ImageReader {
 public:
  /// `keep_larger`: it is the larger pictures that will be asked for most.
  FolderReader(std::vector<std::filesystem::path> files, const SourceOptions& options,
               bool keep_larger, std::shared_ptr<CacheBudget> cache);

  void read(std::int64_t index, std::span<std::uint8_t> pixels) const override;
  std::shared_ptr<const Picture> read_larger(std::int64_t index) const override;

  /// Decodes each of these pictures once, on `workers` threads, and says on stderr how far it is if
  /// that takes long. Returns the indices of those that cannot be decoded, ascending, with the
  /// reasons (which name the files); only the first of them if `first_only`.
  std::map<std::int64_t, std::string> find_damaged(const std::vector<std::int64_t>& indices,
                                                   int workers, bool first_only) const;

 private:
  using Shelf = std::vector<std::shared_ptr<const Picture>>;

  Picture make_image(std::int64_t index) const;
  Picture make_larger(std::int64_t index) const;
  std::shared_ptr<const Picture> get(Shelf& shelf, std::int64_t index,
                                     Picture (FolderReader::*make)(std::int64_t) const) const;

  const std::vector<std::filesystem::path> files_;
  const FolderOptions options_;
  const bool grey_, keep_larger_;
  const std::shared_ptr<CacheBudget> cache_;
  mutable std::mutex mutex_;  ///< of the shelves' entries
  mutable Shelf images_, larger_;
};

}  // namespace cmat::data
