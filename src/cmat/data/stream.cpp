#include "cmat/data/stream.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/random.h"
#include "cmat/data/stream_split.h"

namespace cmat::data {
namespace {

using Indices = std::vector<std::int64_t>;
using SourcePointer = std::shared_ptr<const Source>;

/// [class] -> the images of the class, ascending.
std::vector<Indices> index_by_class(const ImageSet& set, std::int64_t classes) {
  std::vector<Indices> indices(static_cast<std::size_t>(classes));
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const std::int32_t label = set.labels[static_cast<std::size_t>(i)];
    if (label >= 0) indices.at(static_cast<std::size_t>(label)).push_back(i);
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
  /// `section` is where the config speaks of the amounts: "data", or "task.2".
  Divider(const Amounts& amounts, std::uint64_t seed, const Source& source, std::string section)
      : amounts_(amounts),
        seed_(seed),
        source_(source),
        section_(std::move(section)),
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
    result.seed = seed_;
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
      failure(describe(id), " has ", available, " images, but ", section_, ".", setting, " = ",
              wanted, ": lower it, or set it to 0 for all images");
    }
    return wanted == 0 ? images : draw(drawn_by, images, wanted).first;
  }

  void add_class(Task& task, std::int64_t id) const {
    const auto i = static_cast<std::size_t>(id);
    const Key subset_key = key(id, Purpose::subset);
    const Indices kept =
        subset(train_[i], amounts_.train_per_class, subset_key, "train_per_class", id);
    const Indices test =
        subset(test_[i], amounts_.test_per_class, subset_key.for_step(1), "test_per_class", id);
    const auto held_out = validation_count(static_cast<std::int64_t>(kept.size()));
    const auto [validation, train] = draw(key(id, Purpose::validation_split), kept, held_out);
    if (train.empty()) {
      failure(describe(id), " has ", kept.size(), " training images, of which ", held_out,
              " go to validation: none is left, lower ", section_,
              ".validation or use more images");
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
        std::floor(amounts_.validation * static_cast<double>(images) + 0.5 + 1e-9));
  }

  const Amounts amounts_;
  const std::uint64_t seed_;
  const Source& source_;
  const std::string section_;
  std::vector<Indices> train_, test_;
};

void check(const Amounts& amounts) {
  if (!(amounts.validation >= 0 && amounts.validation <= 0.9)) {
    usage_error("data.validation = ", amounts.validation, " is out of range: choose 0 to 0.9");
  }
  if (amounts.train_per_class < 0 || amounts.test_per_class < 0) {
    usage_error("data.train_per_class and data.test_per_class cannot be negative: 0 means all");
  }
}

/// Opens each source once, however many tasks have it.
class Sources {
 public:
  explicit Sources(std::int64_t cache_mb) : cache_(std::make_shared<CacheBudget>(cache_mb << 20)) {}

  SourcePointer open(const SourceOptions& options) {
    for (const auto& [known, source] : opened_) {
      if (known == options) return source;
    }
    opened_.emplace_back(options, std::make_shared<const Source>(load_source(options, cache_)));
    return opened_.back().second;
  }

 private:
  std::shared_ptr<CacheBudget> cache_;
  std::vector<std::pair<SourceOptions, SourcePointer>> opened_;
};

std::int64_t find_class(const Source& source, const NameOrNumber& wanted,
                        const std::string& section) {
  if (const auto* id = std::get_if<std::int64_t>(&wanted)) {
    if (*id >= 0 && *id < class_count(source)) return *id;
    usage_error(section, ".classes names class ", *id, ", but the classes of ", source.name,
                " are 0 to ", class_count(source) - 1);
  }
  const auto& name = std::get<std::string>(wanted);
  const auto& names = source.class_names;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return found - names.begin();
  const std::string near = nearest(name, names);
  usage_error(section, ".classes names \"", name, "\", which is no class of ", source.name,
              near.empty() ? "" : text("; did you mean \"", near, "\"?"));
}

/// The classes of one [[task]], and its name; no images yet.
Task make_own_task(const Source& source, const TaskOptions& options, const std::string& section) {
  Indices classes(source.class_names.size());
  std::iota(classes.begin(), classes.end(), 0);
  if (!options.classes.empty()) classes.clear();
  std::set<std::int64_t> seen;
  for (const NameOrNumber& wanted : options.classes) {
    classes.push_back(find_class(source, wanted, section));
    if (!seen.insert(classes.back()).second) {
      usage_error(section, ".classes names class ", classes.back(), " (",
                  source.class_names[static_cast<std::size_t>(classes.back())],
                  ") twice: name each once");
    }
  }
  if (classes.size() < 2) {
    usage_error(section, " has ", classes.size(), " classes: a task needs at least two");
  }
  Task task = make_task(source, classes);
  if (!options.name.empty()) {
    task.name = options.name;
  } else if (options.classes.empty()) {
    task.name = source.name;
  }
  return task;
}

void check_together(const std::vector<Task>& tasks) {
  std::set<std::string> names;
  for (const Task& task : tasks) {
    if (!names.insert(task.name).second) {
      usage_error("two tasks are named \"", task.name,
                  "\", and results are told apart by name: give each [[task]] a name");
    }
    const ImageSet& images = task.source->train;
    const ImageSet& first = tasks.front().source->train;
    if (images.channels == first.channels) continue;
    usage_error("the images of task ", task.name, " have ", images.channels, " channels, those of ",
                tasks.front().name, " ", first.channels,
                ", and one network takes one kind: set data.grey = true to make all of them grey");
  }
}

}  // namespace

std::int64_t Task::label_of(std::int64_t source_class) const {
  const auto found = std::find(classes.begin(), classes.end(), source_class);
  return found == classes.end() ? -1 : found - classes.begin();
}

std::string Stream::source_names() const {
  std::string names;
  std::set<std::string> seen;
  for (const Task& task : tasks) {
    if (!seen.insert(task.source->name).second) continue;
    names += (names.empty() ? "" : ", ") + task.source->name;
  }
  return names;
}

Stream make_stream(const StreamOptions& options) {
  check(options.amounts);
  Sources sources(options.source.folder.cache_mb);
  Stream stream;
  if (!options.source.name.empty()) {
    const SourcePointer source = sources.open(options.source);
    stream.tasks = cut_into_tasks(*source, options);
    const Divider divider(options.amounts, options.seed, *source, "data");
    for (Task& task : stream.tasks) {
      divider.divide(task);
      task.source = source;
    }
  }
  for (std::size_t i = 0; i < options.tasks.size(); ++i) {
    const TaskOptions& own = options.tasks[i];
    const std::string section = text("task.", i + 1);
    const SourcePointer source = sources.open(own.source);
    Task task = make_own_task(*source, own, section);
    Divider(own.amounts, options.seed, *source, section).divide(task);
    task.source = source;
    stream.tasks.push_back(std::move(task));
  }
  check_together(stream.tasks);
  return stream;
}

}  // namespace cmat::data
