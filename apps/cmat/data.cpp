// cmat data: what data sets there are, where they lie, what is in them, and how to get them.
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>

#include "cmat/core/error.h"
#include "cmat/core/progress.h"
#include "cmat/data/fetch.h"
#include "cmat/data/source.h"
#include "cmat/data/statistics.h"
#include "commands.h"

namespace cmat::app {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

const data::RemoteSource* find_remote(const std::string& name) {
  for (const data::RemoteSource& remote : data::remote_sources()) {
    if (remote.name == name) return &remote;
  }
  return nullptr;
}

std::string how_to_get(const std::string& name) {
  if (name == "synthetic") return "nothing to get: made from the seed";
  if (name == "idx") return "your own IDX files: set data.root to their folder";
  if (name == "folder") return "your own pictures: set data.root to their folder";
  return "cmat data fetch " + name;
}

// ---- cmat data list

void list_sources(bool as_json) {
  ordered_json all = ordered_json::array();
  for (const std::string& name : data::source_names()) {
    const fs::path folder = data::find_source(name, {});
    const bool here = name == "synthetic" || !folder.empty();
    all.push_back(
        {{"name", name},
         {"here", here},
         {"folder", folder.empty() ? ordered_json(nullptr) : ordered_json(folder.string())},
         {"get", how_to_get(name)}});
  }
  if (as_json) {
    std::cout << all.dump(2) << '\n';
    return;
  }
  for (const ordered_json& each : all) {
    const std::string where = each["folder"].is_string() ? each["folder"].get<std::string>()
                              : each["here"].get<bool>() ? "built in"
                                                         : "not here";
    std::cout << std::left << std::setw(15) << each["name"].get<std::string>() << std::setw(36)
              << where << ' ' << each["get"].get<std::string>() << '\n';
  }
}

void add_list(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand("list", "Show the data sets and where they were found");
  const auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print JSON");
  command->callback([as_json] { list_sources(*as_json); });
}

// ---- cmat data info

struct InfoOptions {
  std::string name, root;
  bool as_json = false;
};

ordered_json describe_split(const data::ImageSet& set, std::int64_t classes) {
  const auto counts = data::images_per_class(set, classes);
  const std::int64_t images = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  return {{"images", images}, {"per_class", counts}};
}

ordered_json describe(const InfoOptions& options) {
  data::SourceOptions wanted;
  wanted.name = options.name;
  wanted.root = options.root;
  const data::Source source = data::load_source(wanted);
  const auto classes = static_cast<std::int64_t>(source.class_names.size());
  const auto statistics = data::channel_statistics(source.train);
  const fs::path folder = data::find_source(options.name, options.root);
  const ordered_json train = describe_split(source.train, classes);
  const ordered_json test = describe_split(source.test, classes);
  const auto images = train["images"].get<std::int64_t>() + test["images"].get<std::int64_t>();
  return {{"name", source.name},
          {"folder", folder.empty() ? ordered_json(nullptr) : ordered_json(folder.string())},
          {"channels", source.train.channels},
          {"height", source.train.height},
          {"width", source.train.width},
          {"classes", source.class_names},
          {"train", train},
          {"test", test},
          {"train_mean", statistics.mean},
          {"train_std", statistics.deviation},
          {"bytes", images * source.train.bytes_per_image()}};
}

std::string join(const std::vector<double>& values) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(4);
  for (std::size_t i = 0; i < values.size(); ++i) out << (i ? " " : "") << values[i];
  return out.str();
}

std::string describe_counts(const ordered_json& split) {
  const auto counts = split["per_class"].get<std::vector<std::int64_t>>();
  const auto [low, high] = std::minmax_element(counts.begin(), counts.end());
  const std::string range = *low == *high ? text(*low) : text(*low, " to ", *high);
  return text(split["images"].get<std::int64_t>(), " images, ", range, " a class");
}

void show_info(const InfoOptions& options) {
  const ordered_json info = describe(options);
  if (options.as_json) {
    std::cout << info.dump(2) << '\n';
    return;
  }
  const auto line = [](const char* label, const std::string& value) {
    std::cout << std::left << std::setw(12) << label << value << '\n';
  };
  const auto names = info["classes"].get<std::vector<std::string>>();
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  line("name", info["name"]);
  if (info["folder"].is_string()) line("folder", info["folder"]);
  line("images", text(info["channels"], " x ", info["height"], " x ", info["width"],
                      " (channels, height, width), 8 bits"));
  line("train", describe_counts(info["train"]));
  line("test", describe_counts(info["test"]));
  line("classes", text(names.size(), ": ", list));
  line("train mean", join(info["train_mean"]));
  line("train std", join(info["train_std"]));
  line("bytes", format_bytes(info["bytes"].get<double>()) + " in memory");
}

void add_info(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand("info", "Show what is in a data set");
  const auto options = std::make_shared<InfoOptions>();
  command->add_option("NAME", options->name, "A data set of `cmat data list`")->required();
  command->add_option("--root", options->root, "Folder that holds the files");
  command->add_flag("--json", options->as_json, "Print JSON");
  command->callback([options] { show_info(*options); });
}

// ---- cmat data fetch

struct FetchOptions {
  std::string name, folder, base_url;
};

void fetch_source(const FetchOptions& options) {
  const data::RemoteSource* remote = find_remote(options.name);
  if (!remote) {
    std::string names;
    for (const auto& each : data::remote_sources())
      names += (names.empty() ? "" : ", ") + each.name;
    usage_error("there is nothing to fetch for \"", options.name, "\": choose one of ", names);
  }
  const fs::path folder =
      options.folder.empty() ? fs::path("data") / options.name : fs::path(options.folder);
  // One progress line a file: the rate of one says nothing about the next.
  std::optional<Progress> progress;
  std::string current;
  data::fetch(*remote, folder, options.base_url,
              [&](const std::string& file, double done, double total) {
                constexpr double megabyte = 1e6;
                if (file != current) {
                  progress.emplace("MB", total / megabyte, done / megabyte);
                  current = file;
                }
                const std::string all = total > 0 ? " of " + format_bytes(total) : "";
                progress->update(done / megabyte, file, format_bytes(done) + all);
              });
  progress.reset();
  std::cout << options.name << " is in " << folder.string() << '\n';
}

void add_fetch(CLI::App& parent) {
  CLI::App* command =
      parent.add_subcommand("fetch", "Download a data set, check its digest and unpack it");
  const auto options = std::make_shared<FetchOptions>();
  command->add_option("NAME", options->name, "cifar10, cifar100, mnist or fashion-mnist")
      ->required();
  command->add_option("--to", options->folder, "Folder for the files (default: data/NAME)");
  command->add_option("--base-url", options->base_url,
                      "Mirror: replaces everything before the file name in the official addresses");
  command->callback([options] { fetch_source(*options); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "List, inspect and download data sets");
  command->require_subcommand(1);
  add_list(*command);
  add_info(*command);
  add_fetch(*command);
}

}  // namespace cmat::app
