#include "cmat/continual/user_images.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/data/folder_reader.h"
#include "cmat/data/resize.h"
#include "cmat/nn/tensors.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;

std::int64_t to_label(const std::string& word, const std::string& where, const char* what) {
  std::int64_t label = -1;
  const auto read = std::from_chars(word.data(), word.data() + word.size(), label);
  if (read.ptr != word.data() + word.size() || read.ec != std::errc() || label < 0) {
    usage_error(where, " wants a ", what, " as a number from 0 on, not \"", word, "\"");
  }
  return label;
}

/// Outside of [0,1] or not a number: the likely cause is named.
void check_pixels(const at::Tensor& images, const std::string& origin) {
  const at::Tensor bad = images.isfinite().logical_not().flatten(1).any(1);
  if (bad.any().item<bool>()) {
    usage_error("image ", bad.nonzero()[0].item<std::int64_t>(), " of ",
                bad.sum().item<std::int64_t>(), " in ", origin,
                " has pixels that are not finite numbers: look at how they were made, ",
                "say at a division by a standard deviation of 0");
  }
  const auto low = images.min().item<double>(), high = images.max().item<double>();
  if (low >= -1e-6 && high <= 1 + 1e-6) return;
  const char* cause =
      "they seem to be normalised already: give them as they were before, and the network's "
      "normalisation with --mean and --std";
  if (low >= 0 && high > 2) cause = "divide values of 0 to 255 by 255, or store them as U8";
  usage_error("attacks take pixels in [0,1], but those of ", origin, " range from ", low, " to ",
              high, ": ", cause);
}

UserImages read_tensors(const fs::path& path) {
  const TensorFile file = read_tensor_file(path, /*require_digest=*/false);
  if (!file.tensors.contains("images")) {
    std::string names;
    for (const auto& [name, bytes] : file.tensors) names += (names.empty() ? "" : ", ") + name;
    usage_error(path.string(), " holds no tensor \"images\", but ",
                names.empty() ? std::string("none at all") : names);
  }
  UserImages result;
  at::Tensor images = nn::from_bytes(file.tensors.at("images"));
  if (images.dim() != 4 || images.numel() == 0) {
    usage_error("\"images\" of ", path.string(), " has the shape ", images.sizes(),
                ", but must be [images, channels, height, width]");
  }
  if (images.scalar_type() == at::kByte) images = images.to(at::kFloat) / 255;
  if (!images.is_floating_point()) {
    usage_error("\"images\" of ", path.string(),
                " must be floating-point numbers in [0,1], or U8 of 0 to 255");
  }
  result.images = images.to(at::kFloat).contiguous();
  if (file.tensors.contains("labels")) {
    const at::Tensor labels = nn::from_bytes(file.tensors.at("labels"));
    if (labels.dim() != 1 || labels.is_floating_point()) {
      usage_error("\"labels\" of ", path.string(), " must be whole numbers of the shape [images]");
    }
    const at::Tensor wide = labels.to(at::kLong).contiguous();
    const auto* first = wide.const_data_ptr<std::int64_t>();
    result.labels.assign(first, first + wide.numel());
  }
  return result;
}

struct Files {
  std::vector<fs::path> pictures;
  std::vector<std::int64_t> labels;  ///< of folders of classes; else empty
  std::vector<std::string> class_names;
};

std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const bool wanted = folders ? entry.is_directory()
                                : entry.is_regular_file() &&
                                      data::is_picture_name(entry.path().filename().string());
    if (wanted) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

Files list(const UserImageOptions& options) {
  Files files;
  if (!fs::is_directory(options.images)) {
    files.pictures.push_back(options.images);
    return files;
  }
  files.pictures = sorted_entries(options.images, /*folders=*/false);
  const std::vector<fs::path> classes = sorted_entries(options.images, /*folders=*/true);
  if (files.pictures.empty()) {
    for (const fs::path& folder : classes) {
      const auto label = static_cast<std::int64_t>(files.class_names.size());
      files.class_names.push_back(folder.filename().string());
      for (const fs::path& picture : sorted_entries(folder, /*folders=*/false)) {
        files.pictures.push_back(picture);
        files.labels.push_back(options.first_label + label);
      }
    }
  }
  if (files.pictures.empty()) {
    usage_error("there is no picture in ", options.images.string(),
                ": it should hold pictures, or a folder of pictures for each class");
  }
  return files;
}

data::Picture read_picture(const fs::path& file, const UserImageOptions& options) {
  const std::string bytes = read_file(file);
  data::Picture picture;
  try {
    picture = data::decode_picture(std::as_bytes(std::span(bytes.data(), bytes.size())),
                                   {.grey = options.grey, .min_side = options.size});
  } catch (const Error& e) {
    usage_error(file.string(), ": ", e.what());
  }
  return options.size > 0 ? data::fit(picture, options.size, options.size, "crop") : picture;
}

UserImages read_pictures(const UserImageOptions& options, Files& files) {
  files = list(options);
  std::vector<at::Tensor> images;
  for (const fs::path& file : files.pictures) {
    const data::Picture p = read_picture(file, options);
    const at::Tensor image =
        at::from_blob(const_cast<std::uint8_t*>(p.pixels.data()), {p.channels, p.height, p.width},
                      at::TensorOptions(at::kByte))
            .to(at::kFloat)
            .div(255);
    if (!images.empty() && image.sizes() != images.front().sizes()) {
      usage_error(file.string(), " has ", p.height, "x", p.width, " pixels, and ",
                  files.pictures.front().string(), " ", images.front().size(1), "x",
                  images.front().size(2), ": cut all to one size with --size");
    }
    images.push_back(image);
  }
  return {.images = at::stack(images),
          .labels = files.labels,
          .targets = {},
          .class_names = files.class_names,
          .origin = {}};
}

/// One a line, or "NAME LABEL". `what`: a "label" or a "target".
std::vector<std::int64_t> read_labels(const fs::path& file, const Files& files, std::int64_t count,
                                      const char* what) {
  std::istringstream lines(read_file(file));
  std::vector<std::int64_t> in_order;
  std::map<std::string, std::int64_t> by_name;
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::replace(line.begin(), line.end(), ',', ' ');
    std::replace(line.begin(), line.end(), '\r', ' ');
    std::istringstream words(line);
    std::string first, second, third;
    words >> first >> second >> third;
    if (first.empty()) continue;
    const std::string where = text("line ", number, " of ", file.string());
    if (!third.empty()) usage_error(where, " has more than a name and a ", what);
    if (second.empty())
      in_order.push_back(to_label(first, where, what));
    else
      by_name[first] = to_label(second, where, what);
  }
  if (!by_name.empty()) {
    if (!in_order.empty())
      usage_error(file.string(), " names some images and not others: name all or none");
    for (const fs::path& picture : files.pictures) {
      const auto found = by_name.find(picture.filename().string());
      if (found == by_name.end())
        usage_error(file.string(), " has no ", what, " for ", picture.filename().string());
      in_order.push_back(found->second);
    }
  }
  if (static_cast<std::int64_t>(in_order.size()) != count) {
    usage_error(file.string(), " has ", in_order.size(), " ", what, "s for ", count, " images");
  }
  return in_order;
}

}  // namespace

UserImages read_user_images(const UserImageOptions& options) {
  if (!fs::exists(options.images)) {
    usage_error("--images ", options.images.string(), " does not exist");
  }
  Files files;
  const bool tensors = options.images.extension() == ".safetensors";
  UserImages result = tensors ? read_tensors(options.images) : read_pictures(options, files);
  result.origin = options.images.string();
  check_pixels(result.images, result.origin);
  result.images = result.images.clamp(0, 1);
  const std::int64_t count = result.images.size(0);
  if (!options.labels.empty()) {
    const bool one = std::all_of(options.labels.begin(), options.labels.end(),
                                 [](char c) { return c >= '0' && c <= '9'; });
    if (one && !fs::exists(options.labels))
      result.labels.assign(static_cast<std::size_t>(count),
                           to_label(options.labels, "--labels", "label"));
    else if (!fs::is_regular_file(options.labels))
      usage_error("--labels ", options.labels, " is neither a file nor a number");
    else
      result.labels = read_labels(options.labels, files, count, "label");
  }
  if (result.labels.empty()) {
    usage_error(result.origin,
                " does not say what its images show: give --labels, a file with one ",
                "number a line");
  }
  if (static_cast<std::int64_t>(result.labels.size()) != count) {
    usage_error(result.origin, " has ", result.labels.size(), " labels for ", count, " images");
  }
  if (fs::is_regular_file(options.targets)) {
    result.targets = {.asked = options.targets,
                      .each = read_labels(options.targets, files, count, "target")};
    for (std::size_t i = 0; i < result.labels.size(); ++i) {
      if (result.targets.each[i] != result.labels[i]) continue;
      usage_error(options.targets, " sends image ", i, " to its own label, ", result.labels[i],
                  ": choose another class for it");
    }
  } else {
    result.targets = parse_targets(options.targets, ", or the name of a file");
  }
  return result;
}

}  // namespace cmat::continual
