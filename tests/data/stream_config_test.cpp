#include "cmat/data/stream.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

TEST(StreamConfig, ReadsEveryKey) {
  Config config = Config::parse(R"(
[data]
source = "synthetic"
root = "/somewhere"
validation = 0.25
train_per_class = 8
test_per_class = 3
[data.synthetic]
classes = 6
channels = 1
height = 4
width = 5
train_per_class = 9
test_per_class = 7
noise = 0.5
[stream]
split = "groups"
groups = [[0, 5], [2, 4]]
names = ["first", "second"]
classes_per_task = 3
only = [1]
order = "seeded"
)",
                                "test");
  const StreamOptions o = read_stream_options(config, 42);
  config.finish();
  EXPECT_EQ(o.seed, 42u);
  EXPECT_EQ(o.source.seed, 42u);
  EXPECT_EQ(o.source.name, "synthetic");
  EXPECT_EQ(o.source.root, "/somewhere");
  EXPECT_EQ(o.source.synthetic.classes, 6);
  EXPECT_EQ(o.source.synthetic.channels, 1);
  EXPECT_EQ(o.source.synthetic.height, 4);
  EXPECT_EQ(o.source.synthetic.width, 5);
  EXPECT_EQ(o.source.synthetic.train_per_class, 9);
  EXPECT_EQ(o.source.synthetic.test_per_class, 7);
  EXPECT_EQ(o.source.synthetic.noise, 0.5);
  EXPECT_EQ(o.amounts.validation, 0.25);
  EXPECT_EQ(o.amounts.train_per_class, 8);
  EXPECT_EQ(o.amounts.test_per_class, 3);
  EXPECT_EQ(o.split, "groups");
  EXPECT_EQ(o.groups, (std::vector<std::vector<std::int64_t>>{{0, 5}, {2, 4}}));
  EXPECT_EQ(o.names, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(o.classes_per_task, 3);
  EXPECT_EQ(o.only, (std::vector<std::int64_t>{1}));
  EXPECT_EQ(o.order, "seeded");
}

TEST(StreamConfig, DefaultsAreThoseOfTheStructures) {
  Config config = Config::parse("", "test");
  const StreamOptions read = read_stream_options(config, 1), plain;
  EXPECT_EQ(read.source.name, plain.source.name);
  EXPECT_EQ(read.source.root, plain.source.root);
  EXPECT_EQ(read.source.synthetic.classes, plain.source.synthetic.classes);
  EXPECT_EQ(read.source.synthetic.noise, plain.source.synthetic.noise);
  EXPECT_EQ(read.split, plain.split);
  EXPECT_EQ(read.groups, plain.groups);
  EXPECT_EQ(read.classes_per_task, plain.classes_per_task);
  EXPECT_EQ(read.order, plain.order);
  EXPECT_EQ(read.amounts.validation, plain.amounts.validation);
}

TEST(StreamConfig, TheResolvedConfigReadsTheSame) {
  Config config = Config::parse("[stream]\nsplit = \"chunks\"\nonly = [3, 1]\n", "test");
  read_stream_options(config, 1);
  Config again = Config::parse(config.resolved(), "resolved");
  const StreamOptions o = read_stream_options(again, 1);
  again.finish();
  EXPECT_EQ(o.split, "chunks");
  EXPECT_EQ(o.only, (std::vector<std::int64_t>{3, 1}));
  EXPECT_TRUE(o.groups.empty());
}

TEST(StreamConfig, RefusesBadValues) {
  for (const char* bad : {"data.source=\"cifar\"", "data.validation=0.95", "data.validation=-0.1",
                          "data.train_per_class=-1", "stream.split=\"halves\"",
                          "stream.order=\"random\"", "stream.classes_per_task=1"}) {
    Config config = Config::parse("", "test");
    config.set(bad);
    const std::string key = std::string(bad).substr(0, std::string(bad).find('='));
    test::expect_error(ErrorKind::usage, {key}, [&] { read_stream_options(config, 1); });
  }
}

}  // namespace
}  // namespace cmat::data
