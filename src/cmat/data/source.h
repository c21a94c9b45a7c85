// Where images come from. All parsers check every length against the file's real size first.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cmat/data/image_set.h"

namespace cmat::data {

struct SyntheticOptions {
  std::int64_t classes = 10, channels = 3, height = 8, width = 8;
  std::int64_t train_per_class = 40, test_per_class = 20;
  double noise = 0.15;  ///< standard deviation of the pixel noise around a class's prototype
  bool operator==(const SyntheticOptions&) const = default;
};

/// How a folder of pictures becomes images of one size.
struct FolderOptions {
  std::int64_t size = 64;  ///< pixels a side
  std::string resize =
      "crop";  ///< crop: shorter side to `size`, centre cut out; squash: both sides
  std::string corrupt = "skip";  ///< a damaged file is named and left out (skip), or ends it (fail)
  double test_share = 0.2;       ///< of each class, where the folder has no test/
  std::int64_t cache_mb = 1024;  ///< decoded pictures kept in memory, in units of 2^20 bytes
  std::int64_t workers = 0;      ///< threads that decode; 0: half the cores
  bool keep_larger = false;      ///< training pictures will be cut at random: cache them larger
  bool operator==(const FolderOptions&) const = default;
};

struct SourceOptions {
  /// cifar10, cifar100, mnist, fashion-mnist, idx, folder or synthetic
  std::string name = "synthetic";
  std::filesystem::path root;  ///< folder that holds the files; empty: the places of find_source
  std::uint64_t seed = 1;      ///< of synthetic images, and of a folder's split
  bool grey = false;           ///< one channel: the luma of ITU-R BT.601
  SyntheticOptions synthetic;
  FolderOptions folder;
  bool operator==(const SourceOptions&) const = default;
};

/// Room for decoded pictures, shared by all folders of a stream.
class CacheBudget {
 public:
  explicit CacheBudget(std::int64_t bytes) : left_(bytes) {}
  /// True: the caller may keep this many bytes.
  bool take(std::int64_t bytes);

 private:
  std::atomic<std::int64_t> left_;
};

/// Names that SourceOptions::name accepts.
const std::vector<std::string>& source_names();

/// Loads both splits. Throws a failure that names the missing or damaged file and says what to do
/// (`cmat data fetch NAME`). A folder's pictures are kept within `cache`, or within one of its own.
Source load_source(const SourceOptions& options, std::shared_ptr<CacheBudget> cache = {});

/// The folder that load_source would read: `root` and nothing else if it is given; otherwise
/// data/NAME under the working directory, then a system folder (Debian's dataset-fashion-mnist).
/// Each may be the folder of the files or its parent (the archive's own folder lies in it). Empty
/// when none of them holds all files; synthetic has no folder, and pictures have no usual place.
std::filesystem::path find_source(const std::string& name, const std::filesystem::path& root);

// The formats, each usable alone.

/// MNIST's IDX files, plain or gzip: images [n,h,w] uint8 and labels [n] uint8.
ImageSet read_idx(const std::filesystem::path& images, const std::filesystem::path& labels,
                  std::int64_t classes);
/// CIFAR's binary records: `label_bytes` labels (the last is the class), then 3*32*32 bytes.
ImageSet read_cifar(const std::vector<std::filesystem::path>& files, int label_bytes,
                    std::int64_t classes);
/// A folder of pictures: ROOT/train/CLASS/FILE and ROOT/test/CLASS/FILE, or without test/, or
/// CLASS/FILE right under ROOT; then `test_share` of each class is drawn by key for testing. Class
/// ids follow the names, an image's index its place among all files (damaged ones included), both
/// in bytewise order, so that leaving a file out changes no random draw of another. Every file is
/// decoded once; damaged ones are named on stderr.
Source read_folder(const SourceOptions& options, std::shared_ptr<CacheBudget> cache);
/// Seeded images: each class is a smooth prototype plus noise; learnable, and hard enough that an
/// attack matters.
Source make_synthetic(const SyntheticOptions& options, std::uint64_t seed);

/// The superclass (0..19, alphabetical) of each of CIFAR-100's 100 classes, and the names.
const std::vector<int>& cifar100_superclass_of_class();
const std::vector<std::string>& cifar100_superclass_names();
const std::vector<std::string>& cifar100_class_names();
const std::vector<std::string>& cifar10_class_names();
const std::vector<std::string>& fashion_mnist_class_names();

}  // namespace cmat::data
