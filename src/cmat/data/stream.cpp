#include "cmat/data/stream.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/random.h"

namespace cmat::data {
namespace {

using Indices = std::vector<std::int64_t>;

const std::vector<std::string> split_names = {"groups", "chunks", "superclasses"};
const std::vector<std::string> order_names = {"given", "seeded"};

SyntheticOptions read_synthetic_options(Config& config) {
  const auto count = [&](const char* key, std::int64_t fallback, std::int64_t low,
                         std::int64_t high) {
    return config.integer(text("data.synthetic.", key), fallback, low, high);
  };
  SyntheticOptions o;
  o.classes = count("classes", o.classes, 2, 1000);
  o.channels = count("channels", o.channels, 1, 16);
  o.height = count("height", o.height, 1, 512);
  o.width = count("width", o.width, 1, 512);
  o.train_per_class = count("train_per_class", o.train_per_class, 1, 100000);
  o.test_per_class = count("test_per_class", o.test_per_class, 1, 100000);
  o.noise = config.number("data.synthetic.noise", o.noise, 0, 1);
  return o;
}

std::int64_t class_count(const Source& source) {
  return static_cast<std::int64_t>(source.class_names.size());
}

Task make_task(const Source& source, const std::vector<std::int64_t>& classes) {
  Task task;
  task.classes = classes;
  for (const std::int64_t id : classes) {
    task.class_names.push_back(source.class_names[static_cast<std::size_t>(id)]);
    task.name += (task.name.empty() ? "" : "/") + task.class_names.back();
  }
  return task;
}

std::vector<Task> split_groups(const Source& source, const StreamOptions& options) {
  if (options.groups.empty()) {
    usage_error(
        "stream.groups is empty: list the class ids of each task, like [[0, 6], [2, 4]], or "
        "set stream.split to \"chunks\"");
  }
  std::set<std::int64_t> seen;
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < options.groups.size(); ++i) {
    const auto& group = options.groups[i];
    if (group.size() < 2) {
      usage_error("group ", i, " of stream.groups has ", group.size(),
                  " classes: a task needs at least two");
    }
    for (const std::int64_t id : group) {
      if (id < 0 || id >= class_count(source)) {
        usage_error("group ", i, " of stream.groups names class ", id, ", but the classes of ",
                    source.name, " are 0 to ", class_count(source) - 1);
      }
      if (!seen.insert(id).second) {
        usage_error("stream.groups names class ", id, " (", source.class_names[std::size_t(id)],
                    ") twice: a class belongs to one task");
      }
    }
    tasks.push_back(make_task(source, group));
  }
  return tasks;
}

std::vector<Task> split_chunks(const Source& source, const StreamOptions& options) {
  const std::int64_t size = options.classes_per_task, classes = class_count(source);
  if (size < 2 || classes % size != 0) {
    usage_error("stream.classes_per_task = ", size, " does not cut the ", classes, " classes of ",
                source.name, " into equal tasks of at least two: choose a divisor of ", classes,
                ", or list the tasks in stream.groups");
  }
  std::vector<Task> tasks;
  for (std::int64_t first = 0; first < classes; first += size) {
    std::vector<std::int64_t> chunk;
    for (std::int64_t id = first; id < first + size; ++id) chunk.push_back(id);
    tasks.push_back(make_task(source, chunk));
  }
  return tasks;
}

std::vector<Task> split_superclasses(const Source& source) {
  if (source.name != "cifar100") {
    usage_error("stream.split = \"superclasses\" is for cifar100, not for ", source.name,
                ": choose \"groups\" or \"chunks\"");
  }
  const auto& superclass_of = cifar100_superclass_of_class();
  const auto& names = cifar100_superclass_names();
  std::vector<Task> tasks;
  for (std::size_t s = 0; s < names.size(); ++s) {
    std::vector<std::int64_t> classes;
    for (std::size_t id = 0; id < superclass_of.size(); ++id) {
      if (superclass_of[id] == static_cast<int>(s)) classes.push_back(std::int64_t(id));
    }
    tasks.push_back(make_task(source, classes));
    tasks.back().name = names[s];
  }
  return tasks;
}

std::vector<Task> split_tasks(const Source& source, const StreamOptions& options) {
  if (options.split != "groups" && !options.groups.empty()) {
    usage_error("stream.groups has no effect with stream.split = \"", options.split,
                "\": remove it or set stream.split to \"groups\"");
  }
  if (options.split == "groups") return split_groups(source, options);
  if (options.split == "chunks") return split_chunks(source, options);
  if (options.split == "superclasses") return split_superclasses(source);
  usage_error("stream.split = \"", options.split, "\": choose groups, chunks or superclasses");
}

void name_tasks(const std::vector<std::string>& names, std::vector<Task>& tasks) {
  if (names.empty()) return;
  if (names.size() != tasks.size()) {
    usage_error("stream.names has ", names.size(), " names, but the split has ", tasks.size(),
                " tasks: give each its name, or none");
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) usage_error("name ", i, " of stream.names is empty: give every task one");
    if (!seen.insert(names[i]).second) {
      usage_error("stream.names gives \"", names[i], "\" twice: results are told apart by name");
    }
    tasks[i].name = names[i];
  }
}

std::vector<Task> pick_tasks(const Indices& picks, const std::vector<Task>& tasks) {
  std::vector<Task> picked;
  std::set<std::int64_t> seen;
  for (const std::int64_t i : picks) {
    if (i < 0 || i >= static_cast<std::int64_t>(tasks.size())) {
      usage_error("stream.only names task ", i, ", but the tasks of the split are 0 to ",
                  tasks.size() - 1);
    }
    if (!seen.insert(i).second) {
      usage_error("stream.only names task ", i, " twice: a task is learned once");
    }
    picked.push_back(tasks[static_cast<std::size_t>(i)]);
  }
  return picked;
}

std::vector<Task> arrange_tasks(const StreamOptions& options, std::vector<Task> tasks) {
  if (!options.only.empty()) tasks = pick_tasks(options.only, tasks);
  if (options.order == "given") return tasks;
  if (options.order != "seeded") {
    usage_error("stream.order = \"", options.order, "\": choose given or seeded");
  }
  Key key;
  key.seed = options.seed;
  key.purpose = Purpose::task_order;
  return pick_tasks(Random(key).permutation(static_cast<std::int64_t>(tasks.size())), tasks);
}

/// [class] -> the images of the class, ascending.
std::vector<Indices> index_by_class(const ImageSet& set, std::int64_t classes) {
  std::vector<Indices> indices(static_cast<std::size_t>(classes));
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const auto label = static_cast<std::size_t>(set.labels[static_cast<std::size_t>(i)]);
    indices.at(label).push_back(i);
  }
  return indices;
}

/// `count` of the images, drawn by key, and the rest; both in the order of `images`.
std::pair<Indices, Indices> draw(const Key& key, const Indices& images, std::int64_t count) {
  std::vector<bool> drawn(images.size(), false);
  const Indices order = Random(key).permutation(static_cast<std::int64_t>(images.size()));
  for (std::int64_t i = 0; i < count; ++i) {
    drawn[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = true;
  }
  std::pair<Indices, Indices> result;
  for (std::size_t i = 0; i < images.size(); ++i) {
    (drawn[i] ? result.first : result.second).push_back(images[i]);
  }
  return result;
}

void append(Indices& to, const Indices& more) { to.insert(to.end(), more.begin(), more.end()); }

/// The images of each task, class by class.
class Divider {
 public:
  Divider(const StreamOptions& options, const Source& source)
      : options_(options),
        source_(source),
        train_(index_by_class(source.train, class_count(source))),
        test_(index_by_class(source.test, class_count(source))) {}

  void divide(Task& task) const {
    for (const std::int64_t id : task.classes) add_class(task, id);
    for (Indices* part : {&task.train, &task.validation, &task.test}) {
      std::sort(part->begin(), part->end());
    }
  }

 private:
  Key key(std::int64_t id, Purpose purpose) const {
    Key result;
    result.seed = options_.seed;
    result.sample = static_cast<std::uint64_t>(id);
    result.purpose = purpose;
    return result;
  }

  std::string describe(std::int64_t id) const {
    return text("class ", id, " (", source_.class_names[static_cast<std::size_t>(id)], ") of ",
                source_.name);
  }

  Indices subset(const Indices& images, std::int64_t wanted, const Key& drawn_by,
                 const char* setting, std::int64_t id) const {
    const auto available = static_cast<std::int64_t>(images.size());
    if (wanted > available) {
      failure(describe(id), " has ", available, " images, but data.", setting, " = ", wanted,
              ": lower it, or set it to 0 for all images");
    }
    return wanted == 0 ? images : draw(drawn_by, images, wanted).first;
  }

  void add_class(Task& task, std::int64_t id) const {
    const auto i = static_cast<std::size_t>(id);
    const Key subset_key = key(id, Purpose::subset);
    const Indices kept =
        subset(train_[i], options_.train_per_class, subset_key, "train_per_class", id);
    const Indices test =
        subset(test_[i], options_.test_per_class, subset_key.for_step(1), "test_per_class", id);
    const auto held_out = validation_count(static_cast<std::int64_t>(kept.size()));
    const auto [validation, train] = draw(key(id, Purpose::validation_split), kept, held_out);
    if (train.empty()) {
      failure(describe(id), " has ", kept.size(), " training images, of which ", held_out,
              " go to validation: none is left, lower data.validation or use more images");
    }
    if (test.empty()) {
      failure(describe(id), " has no test images: leave the class out of the stream");
    }
    append(task.train, train);
    append(task.validation, validation);
    append(task.test, test);
  }

  /// Rounds half up, also where a share like 0.29 is stored a little below its decimal value.
  std::int64_t validation_count(std::int64_t images) const {
    return static_cast<std::int64_t>(
        std::floor(options_.validation * static_cast<double>(images) + 0.5 + 1e-9));
  }

  const StreamOptions& options_;
  const Source& source_;
  std::vector<Indices> train_, test_;
};

void check(const StreamOptions& options) {
  if (!(options.validation >= 0 && options.validation <= 0.9)) {
    usage_error("data.validation = ", options.validation, " is out of range: choose 0 to 0.9");
  }
  if (options.train_per_class < 0 || options.test_per_class < 0) {
    usage_error("data.train_per_class and data.test_per_class cannot be negative: 0 means all");
  }
}

}  // namespace

std::int64_t Task::label_of(std::int64_t source_class) const {
  const auto found = std::find(classes.begin(), classes.end(), source_class);
  return found == classes.end() ? -1 : found - classes.begin();
}

StreamOptions read_stream_options(Config& config, std::uint64_t seed) {
  constexpr std::int64_t many = 1000000000;
  StreamOptions o;
  o.source.name = config.string("data.source", o.source.name, source_names());
  o.source.root = config.string("data.root", "");
  o.source.seed = seed;
  o.source.synthetic = read_synthetic_options(config);
  o.validation = config.number("data.validation", o.validation, 0, 0.9);
  o.train_per_class = config.integer("data.train_per_class", o.train_per_class, 0, many);
  o.test_per_class = config.integer("data.test_per_class", o.test_per_class, 0, many);
  o.split = config.string("stream.split", o.split, split_names);
  o.groups = config.integer_lists("stream.groups", o.groups);
  o.names = config.strings("stream.names", o.names);
  o.classes_per_task = config.integer("stream.classes_per_task", o.classes_per_task, 2, many);
  o.only = config.integers("stream.only", o.only);
  o.order = config.string("stream.order", o.order, order_names);
  o.seed = seed;
  return o;
}

Stream make_stream(const StreamOptions& options) {
  check(options);
  Stream stream;
  stream.source = load_source(options.source);
  stream.tasks = split_tasks(stream.source, options);
  name_tasks(options.names, stream.tasks);
  stream.tasks = arrange_tasks(options, std::move(stream.tasks));
  const Divider divider(options, stream.source);
  for (Task& task : stream.tasks) divider.divide(task);
  return stream;
}

}  // namespace cmat::data
