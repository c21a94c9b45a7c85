// A stream: one source cut into tasks, each with its own classes and its own train, validation and
// test images. Labels inside a task are 0..C-1, in the order of the task's class list.
#pragma once

#include <cstdint>
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
  std::int64_t label_of(std::int64_t source_class) const;  ///< position in classes, or -1
};

struct StreamOptions {
  SourceOptions source;
  std::string split = "groups";  ///< superclasses (cifar100 only), groups, or chunks
  std::vector<std::vector<std::int64_t>> groups;  ///< split = groups: the class ids of each task
  std::vector<std::string>
      names;  ///< optional, one for each task of the split (before only, order)
  std::int64_t classes_per_task = 2;  ///< split = chunks: consecutive classes; divides their number
  std::vector<std::int64_t>
      only;                     ///< these tasks of the split (0-based), in this order; empty: all
  std::string order = "given";  ///< given, or seeded (a permutation drawn from the seed)
  double validation = 0.2;      ///< share of each class's training images, [0, 0.9]
  std::int64_t train_per_class = 0;  ///< use this many images a class, validation included (0: all)
  std::int64_t test_per_class = 0;   ///< (0: all)
  std::uint64_t seed = 1;
};

/// Reads [data] and [stream] of a config: data.source, data.root, data.validation,
/// data.train_per_class, data.test_per_class, data.synthetic.*; stream.split, stream.groups,
/// stream.names, stream.classes_per_task, stream.only, stream.order. `seed` is the run's.
StreamOptions read_stream_options(Config& config, std::uint64_t seed);

struct Stream {
  Source source;
  std::vector<Task> tasks;
};

/// Loads the source and cuts it. Subset and validation are drawn by key per class, so the same seed
/// gives the same images whatever the order of the tasks; a larger train_per_class or
/// test_per_class keeps the images of a smaller one. Throws a usage Error when groups name classes
/// that do not exist, name one twice, or have fewer than two classes; a failure when a class has
/// too few images.
Stream make_stream(const StreamOptions& options);

}  // namespace cmat::data
