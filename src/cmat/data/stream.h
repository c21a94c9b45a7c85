// A stream: a source cut into tasks, and tasks with sources of their own; each has its own classes
// and its own train, validation and test images. Labels inside a task are 0..C-1, in the order of
// the task's class list.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cmat/core/config.h"
#include "cmat/data/image_set.h"
#include "cmat/data/source.h"

namespace cmat::data {

struct Task {
  std::string name;
  std::vector<std::int64_t> classes;     ///< class ids of the source; position = label in the task
  std::vector<std::int64_t> train;       ///< indices into Source::train
  std::vector<std::int64_t> validation;  ///< indices into Source::train, disjoint from train
  std::vector<std::int64_t> test;        ///< indices into Source::test
  std::vector<std::string> class_names;
  std::shared_ptr<const Source> source{};
  std::vector<std::int64_t> joined{};  ///< of a task made of several: how many classes each has
  std::int64_t label_of(std::int64_t source_class) const;  ///< position in classes, or -1
};

/// How many of a source's images a task gets.
struct Amounts {
  double validation = 0.2;           ///< share of each class's training images, [0, 0.9]
  std::int64_t train_per_class = 0;  ///< use this many images a class, validation included (0: all)
  std::int64_t test_per_class = 0;   ///< (0: all)
};

/// A task with a source of its own: one [[task]] of a config.
struct TaskOptions {
  std::string name;  ///< empty: the class names, or the source's name where it is all classes
  SourceOptions source;
  std::vector<NameOrNumber> classes;  ///< names or ids; empty: all
  Amounts amounts;
};

struct StreamOptions {
  SourceOptions source;          ///< cut as `split` says; without a name: none, and only `tasks`
  std::string split = "groups";  ///< superclasses (cifar100 only), groups, or chunks
  std::vector<std::vector<std::int64_t>> groups;  ///< split = groups: the class ids of each task
  std::vector<std::string>
      names;  ///< optional, one for each task of the split (before only, order)
  std::int64_t classes_per_task = 2;  ///< split = chunks: consecutive classes; divides their number
  std::vector<std::int64_t>
      only;                     ///< these tasks of the split (0-based), in this order; empty: all
  std::string order = "given";  ///< given, or seeded (a permutation drawn from the seed)
  Amounts amounts;
  std::uint64_t seed = 1;
  std::vector<TaskOptions> tasks;  ///< learned after those of `source`

  /// The smallest validation share of any task.
  double least_validation() const;
};

/// Reads [data], [stream] and every [[task]] of a config; docs/configuration.md has the keys. Where
/// there is a [[task]], data.source is "" (none) unless it is given. `seed` is the run's.
StreamOptions read_stream_options(Config& config, std::uint64_t seed);

/// Reads one task: the keys of [[task]], each after `prefix` ("task.2."; "" for a file that holds
/// nothing but a task). What it does not say is as in [data], whose options are `data`.
TaskOptions read_task_options(Config& config, const std::string& prefix, const StreamOptions& data);

struct Stream {
  std::vector<Task> tasks;

  /// The names of the tasks' sources, each once, as in "mnist, folder".
  std::string source_names() const;
};

/// Loads the sources and cuts them. Subset and validation are drawn by key per class, so the same
/// seed gives the same images whatever the order of the tasks; a larger train_per_class or
/// test_per_class keeps the images of a smaller one. Throws a usage Error when groups name classes
/// that do not exist, name one twice, or have fewer than two classes, and when sources differ in
/// their channels; a failure when a class has too few images.
Stream make_stream(const StreamOptions& options);

}  // namespace cmat::data
