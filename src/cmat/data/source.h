// Where images come from. All parsers check every length against the file's real size first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cmat/data/image_set.h"

namespace cmat::data {

struct SyntheticOptions {
  std::int64_t classes = 10, channels = 3, height = 8, width = 8;
  std::int64_t train_per_class = 40, test_per_class = 20;
  double noise = 0.15;  ///< standard deviation of the pixel noise around a class's prototype
};

struct SourceOptions {
  std::string name = "synthetic";  ///< cifar10, cifar100, mnist, fashion-mnist, idx or synthetic
  std::filesystem::path root;  ///< folder that holds the files; empty: the places of find_source
  std::uint64_t seed = 1;      ///< synthetic images only
  SyntheticOptions synthetic;
};

/// Names that SourceOptions::name accepts.
const std::vector<std::string>& source_names();

/// Loads both splits. Throws a failure that names the missing or damaged file and says what to do
/// (`cmat data fetch NAME`).
Source load_source(const SourceOptions& options);

/// The folder that load_source would read: `root` and nothing else if it is given; otherwise
/// data/NAME under the working directory, then a system folder (Debian's dataset-fashion-mnist).
/// Each may be the folder of the files or its parent (the archive's own folder lies in it). Empty
/// when none of them holds all files; synthetic has no folder.
std::filesystem::path find_source(const std::string& name, const std::filesystem::path& root);

// The formats, each usable alone.

/// MNIST's IDX files, plain or gzip: images [n,h,w] uint8 and labels [n] uint8.
ImageSet read_idx(const std::filesystem::path& images, const std::filesystem::path& labels,
                  std::int64_t classes);
/// CIFAR's binary records: `label_bytes` labels (the last is the class), then 3*32*32 bytes.
ImageSet read_cifar(const std::vector<std::filesystem::path>& files, int label_bytes,
                    std::int64_t classes);
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
