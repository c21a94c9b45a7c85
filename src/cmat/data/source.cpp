#include "cmat/data/source.h"

#include <algorithm>
#include <utility>

#include "cmat/core/config.h"
#include "cmat/core/error.h"
#include "cmat/data/fetch.h"
#include "cmat/data/picture_formats.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;

/// The files of a data set and the folder in which its archive puts them.
struct Layout {
  fs::path subfolder;  ///< empty: none
  std::vector<std::string> files;
  bool may_be_compressed = false;  ///< NAME.gz serves as well as NAME
};

const Layout& layout_of(const std::string& name) {
  static const Layout cifar10 = {"cifar-10-batches-bin",
                                 {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                  "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}};
  static const Layout cifar100 = {"cifar-100-binary", {"train.bin", "test.bin"}};
  static const Layout idx = {"",
                             {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                              "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
                             true};
  if (name == "cifar10") return cifar10;
  if (name == "cifar100") return cifar100;
  return idx;
}

void require_known(const std::string& name) {
  const auto& known = source_names();
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  std::string list;
  for (const std::string& each : known) list += (list.empty() ? "" : ", ") + each;
  const std::string near = nearest(name, known);
  const std::string guess = near.empty() ? "" : text(" (did you mean \"", near, "\"?)");
  usage_error("there is no data source \"", name, "\"", guess, ": choose one of ", list);
}

/// The file in `folder`, compressed if need be; empty if it is not there.
fs::path find_file(const Layout& layout, const fs::path& folder, const std::string& file) {
  std::error_code ignored;
  if (fs::is_regular_file(folder / file, ignored)) return folder / file;
  const fs::path compressed = folder / (file + ".gz");
  if (layout.may_be_compressed && fs::is_regular_file(compressed, ignored)) return compressed;
  return {};
}

/// Every folder that may hold the files, best first.
std::vector<fs::path> candidate_folders(const std::string& name, const fs::path& root) {
  std::vector<fs::path> roots;
  if (!root.empty()) {
    roots = {root};
  } else {
    roots = {fs::path("data") / name};
    if (name == "fashion-mnist") roots.emplace_back("/usr/share/datasets/fashion-mnist");
  }
  const Layout& layout = layout_of(name);
  std::vector<fs::path> folders;
  for (const fs::path& each : roots) {
    folders.push_back(each);
    if (!layout.subfolder.empty()) folders.push_back(each / layout.subfolder);
  }
  return folders;
}

[[noreturn]] void report_missing(const std::string& name, const fs::path& root) {
  const Layout& layout = layout_of(name);
  const auto& remote = remote_sources();
  const bool fetchable = std::any_of(remote.begin(), remote.end(),
                                     [&](const RemoteSource& each) { return each.name == name; });
  std::string advice = "set data.root to the folder that holds it";
  if (fetchable) advice = text("run `cmat data fetch ", name, "`, or ", advice);
  // A folder with some of the files is the one that was meant: name what it lacks.
  for (const fs::path& folder : candidate_folders(name, root)) {
    std::string missing;
    std::size_t found = 0;
    for (const std::string& file : layout.files) {
      if (!find_file(layout, folder, file).empty()) {
        ++found;
      } else if (missing.empty()) {
        missing = file;
      }
    }
    if (found > 0) failure(name, ": ", (folder / missing).string(), " is missing: ", advice);
  }
  const fs::path place = root.empty() ? fs::path("data") / name : root;
  failure(name, " is not here: there is no ", layout.files.front(), " in ", place.string(), ": ",
          advice);
}

std::vector<std::string> numbered_names(std::int64_t classes) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  return names;
}

std::int64_t class_count(const ImageSet& set) {
  return *std::max_element(set.labels.begin(), set.labels.end()) + std::int64_t{1};
}

/// `classes` = 0: as many as the largest label says.
void load_idx(const fs::path& folder, std::int64_t classes, Source& source) {
  const Layout& layout = layout_of("idx");
  std::vector<fs::path> files;
  for (const std::string& file : layout.files) files.push_back(find_file(layout, folder, file));
  const std::int64_t limit = classes > 0 ? classes : 256;
  source.train = read_idx(files[0], files[1], limit);
  source.test = read_idx(files[2], files[3], limit);
  if (source.train.height != source.test.height || source.train.width != source.test.width) {
    failure(files[0].string(), " holds images of ", source.train.height, "x", source.train.width,
            " pixels but ", files[2].string(), " of ", source.test.height, "x", source.test.width,
            ": get both again");
  }
  if (classes == 0) {
    source.class_names =
        numbered_names(std::max(class_count(source.train), class_count(source.test)));
  }
}

void load_cifar(const fs::path& folder, int label_bytes, Source& source) {
  std::vector<fs::path> files;
  for (const std::string& file : layout_of(source.name).files) files.push_back(folder / file);
  const auto classes = static_cast<std::int64_t>(source.class_names.size());
  source.test = read_cifar({files.back()}, label_bytes, classes);
  files.pop_back();
  source.train = read_cifar(files, label_bytes, classes);
}

Source load_files(const std::string& name, const fs::path& root) {
  const fs::path folder = find_source(name, root);
  if (folder.empty()) report_missing(name, root);
  Source source;
  source.name = name;
  if (name == "cifar10") {
    source.class_names = cifar10_class_names();
    load_cifar(folder, 1, source);
  } else if (name == "cifar100") {
    source.class_names = cifar100_class_names();
    load_cifar(folder, 2, source);
  } else if (name == "idx") {
    load_idx(folder, 0, source);
  } else {
    source.class_names = name == "fashion-mnist" ? fashion_mnist_class_names() : numbered_names(10);
    load_idx(folder, 10, source);
  }
  return source;
}

void make_grey(ImageSet& set) {
  if (set.channels == 1) return;
  if (set.channels != 3) {
    usage_error("data.grey is for images of 3 channels, not of ", set.channels,
                ": set it to false");
  }
  const std::int64_t plane = set.height * set.width;
  std::vector<std::uint8_t> grey;
  grey.reserve(set.pixels.size() / 3);
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const std::uint8_t* red = set.pixels.data() + i * 3 * plane;
    for (std::int64_t p = 0; p < plane; ++p) {
      grey.push_back(luma(red[p], red[plane + p], red[2 * plane + p]));
    }
  }
  set.pixels = std::move(grey);
  set.channels = 1;
}

}  // namespace

const std::vector<std::string>& source_names() {
  static const std::vector<std::string> names = {"cifar10", "cifar100", "mnist",    "fashion-mnist",
                                                 "idx",     "folder",   "synthetic"};
  return names;
}

fs::path find_source(const std::string& name, const fs::path& root) {
  require_known(name);
  if (name == "synthetic") return {};
  if (name == "folder") return fs::is_directory(root) ? root : fs::path();
  const Layout& layout = layout_of(name);
  for (const fs::path& folder : candidate_folders(name, root)) {
    const bool complete = std::all_of(
        layout.files.begin(), layout.files.end(),
        [&](const std::string& file) { return !find_file(layout, folder, file).empty(); });
    if (complete) return folder;
  }
  return {};
}

bool CacheBudget::take(std::int64_t bytes) {
  if (left_.fetch_sub(bytes) >= bytes) return true;
  left_.fetch_add(bytes);
  return false;
}

Source load_source(const SourceOptions& options, std::shared_ptr<CacheBudget> cache) {
  require_known(options.name);
  if (options.name == "folder") return read_folder(options, std::move(cache));
  Source source = options.name == "synthetic" ? make_synthetic(options.synthetic, options.seed)
                                              : load_files(options.name, options.root);
  if (options.grey) {
    make_grey(source.train);
    make_grey(source.test);
  }
  return source;
}

}  // namespace cmat::data
