// [data], [stream] and [[task]] of a config.
#include <algorithm>
#include <limits>

#include "cmat/core/error.h"
#include "cmat/data/stream.h"

namespace cmat::data {
namespace {

constexpr std::int64_t many = 1000000000;

const std::vector<std::string> split_names = {"groups", "chunks", "superclasses"};
const std::vector<std::string> order_names = {"given", "seeded"};

SyntheticOptions read_synthetic_options(Config& config, const std::string& prefix,
                                        SyntheticOptions o) {
  const auto count = [&](const char* key, std::int64_t fallback, std::int64_t low,
                         std::int64_t high) {
    return config.integer(text(prefix, "synthetic.", key), fallback, low, high);
  };
  o.classes = count("classes", o.classes, 2, 1000);
  o.channels = count("channels", o.channels, 1, 16);
  o.height = count("height", o.height, 1, 512);
  o.width = count("width", o.width, 1, 512);
  o.train_per_class = count("train_per_class", o.train_per_class, 1, 100000);
  o.test_per_class = count("test_per_class", o.test_per_class, 1, 100000);
  o.noise = config.number(prefix + "synthetic.noise", o.noise, 0, 1);
  return o;
}

/// What [data] and [[task]] say of a source in the same words.
SourceOptions read_source_options(Config& config, const std::string& prefix, SourceOptions o) {
  o.grey = config.boolean(prefix + "grey", o.grey);
  o.synthetic = read_synthetic_options(config, prefix, o.synthetic);
  o.folder.size = config.integer(prefix + "size", o.folder.size, 8, 512);
  o.folder.resize = config.string(prefix + "resize", o.folder.resize, {"crop", "squash"});
  o.folder.corrupt = config.string(prefix + "corrupt", o.folder.corrupt, {"skip", "fail"});
  o.folder.test_share = config.number(prefix + "test_share", o.folder.test_share, 0.01, 0.9);
  return o;
}

Amounts read_amounts(Config& config, const std::string& prefix, Amounts a) {
  a.validation = config.number(prefix + "validation", a.validation, 0, 0.9);
  a.train_per_class = config.integer(prefix + "train_per_class", a.train_per_class, 0, many);
  a.test_per_class = config.integer(prefix + "test_per_class", a.test_per_class, 0, many);
  return a;
}

/// data.source; where the config has tasks of its own, none is an answer, and the default.
std::string read_source_name(Config& config, bool may_be_none) {
  std::vector<std::string> allowed = source_names();
  if (may_be_none) allowed.emplace_back("");
  return config.string("data.source", may_be_none ? "" : SourceOptions().name, allowed);
}

void read_split(Config& config, StreamOptions& o) {
  o.split = config.string("stream.split", o.split, split_names);
  o.groups = config.integer_lists("stream.groups", o.groups);
  o.names = config.strings("stream.names", o.names);
  o.classes_per_task = config.integer("stream.classes_per_task", o.classes_per_task, 2, many);
  o.only = config.integers("stream.only", o.only);
  o.order = config.string("stream.order", o.order, order_names);
  if (!o.source.name.empty()) return;
  for (const auto& [key, given] :
       {std::pair("groups", !o.groups.empty()), std::pair("names", !o.names.empty()),
        std::pair("only", !o.only.empty())}) {
    if (!given) continue;
    usage_error("stream.", key,
                " speaks of the tasks that data.source is cut into, but every task ",
                "is a [[task]]: set data.source, or remove stream.", key);
  }
}

}  // namespace

double StreamOptions::least_validation() const {
  double least = source.name.empty() ? 1.0 : amounts.validation;
  for (const TaskOptions& task : tasks) least = std::min(least, task.amounts.validation);
  return least;
}

TaskOptions read_task_options(Config& config, const std::string& prefix,
                              const StreamOptions& data) {
  TaskOptions o;
  o.source = data.source;
  o.name = config.string(prefix + "name", "");
  o.source.name = config.string(prefix + "source", data.source.name, source_names());
  if (o.source.name.empty()) {
    usage_error(prefix, "source is missing, and data.source is not set either: name the data set");
  }
  // Another data set does not lie where that of [data] does.
  const bool same = o.source.name == data.source.name;
  o.source.root = config.string(prefix + "root", same ? data.source.root.string() : "");
  o.source = read_source_options(config, prefix, o.source);
  o.classes = config.names_or_numbers(prefix + "classes");
  o.amounts = read_amounts(config, prefix, data.amounts);
  return o;
}

StreamOptions read_stream_options(Config& config, std::uint64_t seed) {
  StreamOptions o;
  const std::int64_t tasks = config.tables("task");
  o.source.name = read_source_name(config, tasks > 0);
  o.source.root = config.string("data.root", "");
  o.source.seed = seed;
  o.source = read_source_options(config, "data.", o.source);
  o.source.folder.cache_mb = config.integer("data.cache_mb", o.source.folder.cache_mb, 0, many);
  o.source.folder.workers = config.integer("data.workers", o.source.folder.workers, 0, 256);
  o.source.folder.keep_larger = config.number("augment.random_resized_crop", 0, 0, 1) > 0;
  o.amounts = read_amounts(config, "data.", o.amounts);
  o.seed = seed;
  read_split(config, o);
  for (std::int64_t i = 1; i <= tasks; ++i) {
    o.tasks.push_back(read_task_options(config, text("task.", i, "."), o));
  }
  return o;
}

}  // namespace cmat::data
