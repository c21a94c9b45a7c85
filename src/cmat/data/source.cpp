#include "cmat/data/source.h"

#include <algorithm>

#include "cmat/core/config.h"
#include "cmat/core/error.h"
#include "cmat/data/fetch.h"

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

}  // namespace

const std::vector<std::string>& source_names() {
  static const std::vector<std::string> names = {"cifar10",       "cifar100", "mnist",
                                                 "fashion-mnist", "idx",      "synthetic"};
  return names;
}

fs::path find_source(const std::string& name, const fs::path& root) {
  require_known(name);
  if (name == "synthetic") return {};
  const Layout& layout = layout_of(name);
  for (const fs::path& folder : candidate_folders(name, root)) {
    const bool complete = std::all_of(
        layout.files.begin(), layout.files.end(),
        [&](const std::string& file) { return !find_file(layout, folder, file).empty(); });
    if (complete) return folder;
  }
  return {};
}

Source load_source(const SourceOptions& options) {
  const fs::path folder = find_source(options.name, options.root);
  if (options.name == "synthetic") return make_synthetic(options.synthetic, options.seed);
  if (folder.empty()) report_missing(options.name, options.root);

  Source source;
  source.name = options.name;
  if (options.name == "cifar10") {
    source.class_names = cifar10_class_names();
    load_cifar(folder, 1, source);
  } else if (options.name == "cifar100") {
    source.class_names = cifar100_class_names();
    load_cifar(folder, 2, source);
  } else if (options.name == "idx") {
    load_idx(folder, 0, source);
  } else {
    source.class_names =
        options.name == "fashion-mnist" ? fashion_mnist_class_names() : numbered_names(10);
    load_idx(folder, 10, source);
  }
  return source;
}

}  // namespace cmat::data
