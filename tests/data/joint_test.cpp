// All tasks as one: every image is still the one of its task, under its task's label.
#include "cmat/data/joint.h"

#include <algorithm>

#include "data/helpers.h"

namespace cmat::data {
namespace {

using test::expect_error;

/// Tasks of two, three and two classes, with a class in two of them, and one from another source.
Stream three_tasks() {
  StreamOptions options;
  options.source.synthetic.height = options.source.synthetic.width = 3;
  options.source.synthetic.classes = 6;
  options.split = "groups";
  options.groups = {{5, 1}, {0, 2, 3}};
  Stream stream = make_stream(options);
  StreamOptions other = options;
  other.source.seed = 2;
  other.groups = {{1, 4}};
  stream.tasks.push_back(make_stream(other).tasks.front());
  return stream;
}

TEST(Joint, KeepsEveryImageUnderItsTasksLabel) {
  const Stream stream = three_tasks();
  const Task joint = join(stream);
  EXPECT_EQ(joint.joined, (std::vector<std::int64_t>{2, 3, 2}));
  EXPECT_EQ(joint.class_names,
            (std::vector<std::string>{"5", "1", "0", "2", "3", "1", "4"}));
  std::size_t train = 0, validation = 0;
  std::int64_t classes = 0;
  for (std::size_t t = 0; t < stream.tasks.size(); ++t) {
    const Task& task = stream.tasks[t];
    const Task part = part_of(joint, t);
    EXPECT_EQ(part.train.size(), task.train.size());
    EXPECT_EQ(part.validation.size(), task.validation.size());
    EXPECT_EQ(part.class_names, task.class_names);
    const auto compare = [&](std::int64_t joined, std::int64_t own) {
      const ImageSet &all = joint.source->train, &images = task.source->train;
      std::vector<std::uint8_t> a, b;
      EXPECT_TRUE(std::ranges::equal(image_pixels(all, joined, a), image_pixels(images, own, b)));
      const auto label = task.label_of(images.labels[static_cast<std::size_t>(own)]);
      const auto joint_class = all.labels[static_cast<std::size_t>(joined)];
      EXPECT_EQ(part.label_of(joint_class), label);
      EXPECT_EQ(joint.label_of(joint_class), classes + label);
      const auto larger = all.reader->read_larger(joined);
      EXPECT_TRUE(std::ranges::equal(larger->pixels, image_pixels(images, own, b)));
    };
    for (std::size_t i = 0; i < task.train.size(); ++i) {
      EXPECT_EQ(part.train[i], joint.train[train]);
      compare(joint.train[train++], task.train[i]);
    }
    for (std::size_t i = 0; i < task.validation.size(); ++i) {
      compare(joint.validation[validation++], task.validation[i]);
    }
    classes += std::ssize(task.classes);
  }
  EXPECT_EQ(joint.train.size(), train);
  EXPECT_EQ(joint.validation.size(), validation);
  EXPECT_TRUE(joint.test.empty());
}

TEST(Joint, RefusesImagesOfSeveralSizes) {
  Stream stream = three_tasks();
  StreamOptions other;
  other.split = "chunks";
  other.source.synthetic.height = 3;
  other.source.synthetic.width = 4;
  stream.tasks.push_back(make_stream(other).tasks.front());
  expect_error(ErrorKind::usage, {"joint training", "3x4", "3x3"}, [&] { join(stream); });
}

}  // namespace
}  // namespace cmat::data
