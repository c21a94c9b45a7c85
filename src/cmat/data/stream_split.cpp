#include "cmat/data/stream_split.h"

#include <set>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/random.h"

namespace cmat::data {
namespace {

using Indices = std::vector<std::int64_t>;

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

}  // namespace

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

std::vector<Task> cut_into_tasks(const Source& source, const StreamOptions& options) {
  std::vector<Task> tasks = split_tasks(source, options);
  name_tasks(options.names, tasks);
  return arrange_tasks(options, std::move(tasks));
}

}  // namespace cmat::data
