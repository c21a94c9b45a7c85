#include "cmat/data/stream.h"

#include <algorithm>
#include <map>
#include <set>

#include "data/helpers.h"

namespace cmat::data {
namespace {

using test::expect_error;
using Ids = std::vector<std::int64_t>;

StreamOptions chunks() {
  StreamOptions options;
  options.split = "chunks";
  options.source.synthetic.height = options.source.synthetic.width = 2;
  return options;
}

StreamOptions groups(const std::vector<Ids>& ids) {
  StreamOptions options = chunks();
  options.split = "groups";
  options.groups = ids;
  return options;
}

std::vector<std::string> task_names(const Stream& stream) {
  std::vector<std::string> names;
  for (const Task& task : stream.tasks) names.push_back(task.name);
  return names;
}

std::map<std::int64_t, int> count_classes(const ImageSet& set, const Ids& indices) {
  std::map<std::int64_t, int> counts;
  for (const std::int64_t i : indices) ++counts[set.labels.at(static_cast<std::size_t>(i))];
  return counts;
}

Ids of_class(const ImageSet& set, const Ids& indices, std::int64_t id) {
  Ids result;
  std::copy_if(indices.begin(), indices.end(), std::back_inserter(result),
               [&](std::int64_t i) { return set.labels[static_cast<std::size_t>(i)] == id; });
  return result;
}

void refuse(const StreamOptions& options, const std::vector<std::string>& parts) {
  expect_error(ErrorKind::usage, parts, [&] { make_stream(options); });
}

TEST(Stream, GroupsKeepTheirOrderAndNameTheirTasks) {
  const Stream stream = make_stream(groups({{6, 0}, {2, 9, 4}}));
  ASSERT_EQ(stream.tasks.size(), 2u);
  EXPECT_EQ(stream.tasks[0].classes, (Ids{6, 0}));
  EXPECT_EQ(stream.tasks[0].class_names, (std::vector<std::string>{"6", "0"}));
  EXPECT_EQ(task_names(stream), (std::vector<std::string>{"6/0", "2/9/4"}));
  EXPECT_EQ(stream.tasks[0].label_of(6), 0);
  EXPECT_EQ(stream.tasks[0].label_of(0), 1);
  EXPECT_EQ(stream.tasks[0].label_of(1), -1);
}

TEST(Stream, ChunksAreConsecutiveClasses) {
  StreamOptions options = chunks();
  options.classes_per_task = 5;
  const Stream stream = make_stream(options);
  ASSERT_EQ(stream.tasks.size(), 2u);
  EXPECT_EQ(stream.tasks[0].classes, (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(stream.tasks[1].classes, (Ids{5, 6, 7, 8, 9}));
}

TEST(Stream, ImagesAreSortedDisjointBalancedAndComplete) {
  const Stream stream = make_stream(chunks());
  std::set<std::int64_t> all, tests;
  for (const Task& task : stream.tasks) {
    for (const Ids* part : {&task.train, &task.validation, &task.test}) {
      EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
    }
    for (const std::int64_t id : task.classes) {  // 40 and 20 a class; a fifth is validation
      EXPECT_EQ(count_classes(stream.tasks[0].source->train, task.train)[id], 32);
      EXPECT_EQ(count_classes(stream.tasks[0].source->train, task.validation)[id], 8);
      EXPECT_EQ(count_classes(stream.tasks[0].source->test, task.test)[id], 20);
    }
    EXPECT_EQ(count_classes(stream.tasks[0].source->train, task.train).size(), task.classes.size());
    all.insert(task.train.begin(), task.train.end());
    all.insert(task.validation.begin(), task.validation.end());
    tests.insert(task.test.begin(), task.test.end());
  }
  EXPECT_EQ(all.size(), 400u);
  EXPECT_EQ(tests.size(), 200u);
}

TEST(Stream, ValidationRoundsHalfUp) {
  const auto count = [](std::int64_t images, double share) {
    StreamOptions options = chunks();
    options.source.synthetic.train_per_class = images;
    options.amounts.validation = share;
    return make_stream(options).tasks[0].validation.size() / 2;
  };
  EXPECT_EQ(count(10, 0.25), 3u);  // 2.5
  EXPECT_EQ(count(10, 0.24), 2u);
  EXPECT_EQ(count(50, 0.29), 15u);  // 14.5, though 0.29 * 50 is less in binary
  EXPECT_EQ(count(3, 0.1), 0u);
  EXPECT_EQ(count(10, 0.9), 9u);
}

TEST(Stream, ValidationMayBeEmpty) {
  StreamOptions options = chunks();
  options.amounts.validation = 0;
  const Task task = make_stream(options).tasks[0];
  EXPECT_TRUE(task.validation.empty());
  EXPECT_EQ(task.train.size(), 80u);
}

TEST(Stream, ValidationIsDrawnAndNotCutOff) {
  const Stream stream = make_stream(chunks());
  const Ids validation = of_class(stream.tasks[0].source->train, stream.tasks[0].validation, 0);
  const Ids train = of_class(stream.tasks[0].source->train, stream.tasks[0].train, 0);
  EXPECT_GT(validation.back(), train.front());
  EXPECT_LT(validation.front(), train.back());
}

TEST(Stream, EveryClassAndSplitIsDrawnForItself) {
  // Training and test split alike: image i is of class i % 10, so i / 10 is its place in its class.
  StreamOptions options = chunks();
  options.source.synthetic.train_per_class = options.source.synthetic.test_per_class = 20;
  options.amounts.train_per_class = options.amounts.test_per_class = 10;
  const Stream stream = make_stream(options);
  const auto places = [](const ImageSet& set, const Ids& indices, std::int64_t id) {
    Ids result = of_class(set, indices, id);
    for (std::int64_t& i : result) i /= 10;
    return result;
  };
  std::set<Ids> drawn;
  for (const Task& task : stream.tasks) {
    for (const std::int64_t id : task.classes) {
      Ids kept = places(stream.tasks[0].source->train, task.train, id);
      const Ids held_out = places(stream.tasks[0].source->train, task.validation, id);
      kept.insert(kept.end(), held_out.begin(), held_out.end());
      std::sort(kept.begin(), kept.end());
      drawn.insert(kept);
      drawn.insert(places(stream.tasks[0].source->test, task.test, id));
    }
  }
  EXPECT_EQ(drawn.size(), 20u);  // 10 of 20 can be chosen in 184,756 ways

  options.amounts.train_per_class = options.amounts.test_per_class = 0;
  const Stream whole = make_stream(options);
  std::set<Ids> validations;
  for (const Task& task : whole.tasks) {
    for (const std::int64_t id : task.classes) {
      validations.insert(places(whole.tasks[0].source->train, task.validation, id));
    }
  }
  EXPECT_GT(validations.size(), 7u);  // 4 of 20: 4,845 ways
}

TEST(Stream, SubsetsGrowAroundTheSmallerOnes) {
  StreamOptions options = chunks();
  options.amounts.validation = 0;
  options.amounts.train_per_class = 7;
  options.amounts.test_per_class = 4;
  const Stream small = make_stream(options);
  options.amounts.train_per_class = 20;
  options.amounts.test_per_class = 9;
  const Stream large = make_stream(options);
  for (std::size_t t = 0; t < small.tasks.size(); ++t) {
    const Task &less = small.tasks[t], &more = large.tasks[t];
    EXPECT_EQ(less.train.size(), 14u);
    EXPECT_EQ(less.test.size(), 8u);
    EXPECT_EQ(more.train.size(), 40u);
    EXPECT_TRUE(
        std::includes(more.train.begin(), more.train.end(), less.train.begin(), less.train.end()));
    EXPECT_TRUE(
        std::includes(more.test.begin(), more.test.end(), less.test.begin(), less.test.end()));
  }
}

TEST(Stream, ValidationComesOutOfTheSubset) {
  StreamOptions options = chunks();
  options.amounts.train_per_class = 10;
  const Task task = make_stream(options).tasks[0];
  EXPECT_EQ(task.train.size(), 16u);
  EXPECT_EQ(task.validation.size(), 4u);
}

TEST(Stream, AClassHasTheSameImagesInWhateverTask) {
  StreamOptions options = groups({{0, 1}, {2, 3}});
  options.amounts.train_per_class = 20;
  const Stream a = make_stream(options);
  options.groups = {{9, 3, 0}};
  options.only = {0};
  const Stream b = make_stream(options);
  EXPECT_EQ(of_class(a.tasks[0].source->train, a.tasks[0].train, 0),
            of_class(b.tasks[0].source->train, b.tasks[0].train, 0));
  EXPECT_EQ(of_class(a.tasks[0].source->train, a.tasks[1].validation, 3),
            of_class(b.tasks[0].source->train, b.tasks[0].validation, 3));
  options.seed = 2;  // of the stream; the source's own stays
  const Stream c = make_stream(options);
  EXPECT_NE(c.tasks[0].train, b.tasks[0].train);
}

TEST(Stream, OnlyKeepsItsOwnOrder) {
  StreamOptions options = chunks();
  options.only = {3, 0, 4};
  EXPECT_EQ(task_names(make_stream(options)), (std::vector<std::string>{"6/7", "0/1", "8/9"}));
}

TEST(Stream, SeededOrderIsAPermutationOfTheSeed) {
  StreamOptions options = chunks();
  options.order = "seeded";
  std::set<std::vector<std::string>> orders;
  for (options.seed = 1; options.seed <= 8; ++options.seed) {
    auto names = task_names(make_stream(options));
    EXPECT_EQ(names, task_names(make_stream(options)));
    orders.insert(names);
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"0/1", "2/3", "4/5", "6/7", "8/9"}));
  }
  EXPECT_GE(orders.size(), 5u);
}

TEST(Stream, NamesBelongToTheTasksOfTheSplit) {
  StreamOptions options = groups({{0, 1}, {2, 3}, {4, 5}});
  options.names = {"a", "b", "c"};
  options.only = {2, 0};
  EXPECT_EQ(task_names(make_stream(options)), (std::vector<std::string>{"c", "a"}));
}

TEST(Stream, RefusesBadGroups) {
  refuse(groups({}), {"stream.groups is empty", "[[0, 6], [2, 4]]"});
  refuse(groups({{0, 1}, {2}}), {"group 1", "1 classes", "at least two"});
  refuse(groups({{0, 1}, {2, 10}}), {"group 1", "class 10", "0 to 9"});
  refuse(groups({{0, -1}}), {"group 0", "class -1", "0 to 9"});
  refuse(groups({{3, 3}}), {"class 3", "twice"});
  refuse(groups({{0, 1}, {2, 1}}), {"class 1", "twice"});
}

TEST(Stream, RefusesBadSplits) {
  StreamOptions options = chunks();
  options.classes_per_task = 3;
  refuse(options, {"stream.classes_per_task = 3", "10 classes"});
  options.classes_per_task = 1;
  refuse(options, {"stream.classes_per_task = 1"});
  options = chunks();
  options.split = "superclasses";
  refuse(options, {"superclasses", "cifar100"});
  options.split = "halves";
  refuse(options, {"\"halves\"", "chunks"});
  options = groups({{0, 1}});
  options.split = "chunks";
  refuse(options, {"stream.groups has no effect"});
}

TEST(Stream, RefusesBadOnlyNamesOrderAndShares) {
  StreamOptions options = chunks();
  options.only = {0, 5};
  refuse(options, {"stream.only", "task 5", "0 to 4"});
  options.only = {-1};
  refuse(options, {"stream.only", "task -1"});
  options.only = {2, 1, 2};
  refuse(options, {"stream.only", "task 2", "twice"});
  options = chunks();
  options.names = {"a", "b"};
  refuse(options, {"stream.names has 2 names", "5 tasks"});
  options.names = {"a", "b", "", "d", "e"};
  refuse(options, {"name 2", "empty"});
  options.names = {"a", "b", "a", "d", "e"};
  refuse(options, {"\"a\" twice"});
  options = chunks();
  options.order = "random";
  refuse(options, {"stream.order", "seeded"});
  options = chunks();
  options.amounts.validation = 0.91;
  refuse(options, {"data.validation"});
  options = chunks();
  options.amounts.test_per_class = -1;
  refuse(options, {"data.test_per_class"});
}

TEST(Stream, TooFewImagesIsAFailure) {
  const auto fail = [](const StreamOptions& options, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::failure, parts, [&] { make_stream(options); });
  };
  StreamOptions options = chunks();
  options.amounts.train_per_class = 41;
  fail(options, {"class 0", "40 images", "data.train_per_class = 41"});
  options = chunks();
  options.amounts.test_per_class = 21;
  fail(options, {"class 0", "20 images", "data.test_per_class = 21"});
  options = chunks();
  options.source.synthetic.train_per_class = 1;
  options.amounts.validation = 0.5;
  fail(options, {"class 0", "1 training images", "none is left"});
}

TEST(Stream, AClassWithoutTestImagesIsAFailure) {
  const test::TemporaryFolder folder;
  test::write(folder / "train-images-idx3-ubyte", test::idx({4, 1, 1}, "abcd"));
  test::write(folder / "train-labels-idx1-ubyte", test::idx({4}, {0, 0, 1, 1}));
  test::write(folder / "t10k-images-idx3-ubyte", test::idx({1, 1, 1}, "e"));
  test::write(folder / "t10k-labels-idx1-ubyte", test::idx({1}, {0}));
  StreamOptions options = groups({{0, 1}});
  options.source.name = "idx";
  options.source.root = folder.path();
  expect_error(ErrorKind::failure, {"class 1", "idx", "no test images"},
               [&] { make_stream(options); });
}

}  // namespace
}  // namespace cmat::data
