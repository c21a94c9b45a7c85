// A folder of pictures as a source: which files there are, and to which class and split they
// belong.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/progress.h"
#include "cmat/core/random.h"
#include "cmat/data/folder_reader.h"
#include "cmat/data/loader.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;

/// The files of a split with their classes.
struct Listing {
  std::vector<fs::path> files;
  std::vector<std::int32_t> labels;
};

std::vector<std::string> sorted_names(const fs::path& folder, bool folders) {
  std::vector<std::string> names;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(".") && entry.is_directory() == folders) names.push_back(name);
    }
  } catch (const fs::filesystem_error& error) {
    failure("cannot read the folder ", folder.string(), ": ", error.code().message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Listing list_pictures(const fs::path& folder, const std::vector<std::string>& classes) {
  Listing listing;
  for (std::size_t label = 0; label < classes.size(); ++label) {
    if (!fs::is_directory(folder / classes[label])) continue;
    for (const std::string& name : sorted_names(folder / classes[label], false)) {
      if (!is_picture_name(name)) continue;
      listing.files.push_back(folder / classes[label] / name);
      listing.labels.push_back(static_cast<std::int32_t>(label));
    }
  }
  if (listing.files.empty()) {
    failure("there are no pictures in ", folder.string(),
            ": it must hold a folder for each class, with .jpg, .jpeg, .png or .webp files in it");
  }
  return listing;
}

/// Gives each picture to one split: of every class the share whose random numbers are lowest.
void divide(const SourceOptions& options, Listing& train, Listing& test) {
  std::map<std::int32_t, std::vector<std::pair<std::uint64_t, std::size_t>>> drawn;
  for (std::size_t i = 0; i < train.files.size(); ++i) {
    // Steps 0 and 1 draw the subsets of a stream.
    const Key key{.seed = options.seed, .sample = i, .step = 2, .purpose = Purpose::subset};
    drawn[train.labels[i]].emplace_back(Random(key).bits(), i);
  }
  test = train;
  test.labels.assign(test.files.size(), -1);
  for (auto& [label, pictures] : drawn) {
    std::sort(pictures.begin(), pictures.end());
    const double share = options.folder.test_share * static_cast<double>(pictures.size());
    const auto count = std::max<std::size_t>(1, static_cast<std::size_t>(std::floor(share + 0.5)));
    for (std::size_t i = 0; i < std::min(count, pictures.size() - 1); ++i) {
      const std::size_t picture = pictures[i].second;
      std::swap(train.labels[picture], test.labels[picture]);
    }
  }
}

/// Opens a split: what cannot be decoded is taken out of it.
ImageSet open_split(Listing listing, const SourceOptions& options, bool keep_larger,
                    const std::shared_ptr<CacheBudget>& cache) {
  const FolderOptions& folder = options.folder;
  const auto reader =
      std::make_shared<FolderReader>(std::move(listing.files), options, keep_larger, cache);
  std::vector<std::int64_t> indices;
  for (std::size_t i = 0; i < listing.labels.size(); ++i) {
    if (listing.labels[i] >= 0) indices.push_back(static_cast<std::int64_t>(i));
  }
  const bool fail = folder.corrupt == "fail";
  const auto damaged = reader->find_damaged(indices, worker_count(folder.workers), fail);
  for (const auto& [index, reason] : damaged) {
    if (fail) failure(reason, "; remove it, or set data.corrupt to \"skip\"");
    Progress("", 0).line(text("warning: ", reason, "; it is left out"));
    listing.labels[static_cast<std::size_t>(index)] = -1;
  }
  ImageSet set;
  set.channels = options.grey ? 1 : 3;
  set.height = set.width = folder.size;
  set.labels = std::move(listing.labels);
  set.reader = reader;
  return set;
}

/// The last part of the path: "photos/" of "/home/me/photos/".
std::string name_of(const fs::path& root) {
  const fs::path whole = fs::absolute(root).lexically_normal();
  const fs::path last = whole.has_filename() ? whole.filename() : whole.parent_path().filename();
  return last.string() + "/";
}

}  // namespace

Source read_folder(const SourceOptions& options, std::shared_ptr<CacheBudget> cache) {
  const fs::path& root = options.root;
  if (root.empty()) {
    usage_error("a folder of pictures has no usual place: set data.root (or root of the [[task]])");
  }
  if (!fs::is_directory(root)) failure("there is no folder ", root.string(), ": check data.root");
  const bool has_train = fs::is_directory(root / "train");
  const bool has_test = has_train && fs::is_directory(root / "test");
  const fs::path train_folder = has_train ? root / "train" : root;

  Source source;
  source.name = name_of(root);
  source.class_names = sorted_names(train_folder, true);
  Listing train = list_pictures(train_folder, source.class_names), test;
  if (has_test) {
    for (const std::string& name : sorted_names(root / "test", true)) {
      const auto& known = source.class_names;
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      failure((root / "test" / name).string(), " is a class without training pictures: add ",
              (train_folder / name).string(), ", or remove it");
    }
    test = list_pictures(root / "test", source.class_names);
  } else {
    divide(options, train, test);
  }
  if (!cache) cache = std::make_shared<CacheBudget>(options.folder.cache_mb << 20);
  // The test images first: they are asked for again and again, and always whole.
  source.test = open_split(std::move(test), options, false, cache);
  source.train = open_split(std::move(train), options, options.folder.keep_larger, cache);
  return source;
}

}  // namespace cmat::data
