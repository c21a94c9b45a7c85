// [[task]]: tasks with sources of their own.
#include <nlohmann/json.hpp>

#include "cmat/data/stream.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

StreamOptions read(const std::string& toml) {
  Config config = Config::parse(toml, "test");
  const StreamOptions options = read_stream_options(config, 3);
  config.finish();
  return options;
}

void refuse(const std::string& toml, const std::vector<std::string>& parts) {
  test::expect_error(ErrorKind::usage, parts, [&] { make_stream(read(toml)); });
}

TEST(TaskConfig, DefaultsAreThoseOfData) {
  const StreamOptions o = read(R"(
[data]
source = "folder"
root = "here"
size = 96
grey = true
corrupt = "fail"
validation = 0.1
train_per_class = 50
[[task]]
[[task]]
name = "mine"
source = "mnist"
classes = ["3", 5]
grey = false
size = 32
resize = "squash"
test_share = 0.4
validation = 0.3
train_per_class = 7
test_per_class = 6
)");
  ASSERT_EQ(o.tasks.size(), 2u);
  const TaskOptions& same = o.tasks[0];
  EXPECT_EQ(same.source, o.source);
  EXPECT_EQ(same.amounts.validation, 0.1);
  EXPECT_EQ(same.amounts.train_per_class, 50);
  EXPECT_TRUE(same.classes.empty());
  const TaskOptions& own = o.tasks[1];
  EXPECT_EQ(own.name, "mine");
  EXPECT_EQ(own.source.name, "mnist");
  EXPECT_EQ(own.source.root, "");  // another data set does not lie where the first does
  EXPECT_EQ(own.classes, (std::vector<NameOrNumber>{"3", std::int64_t{5}}));
  EXPECT_FALSE(own.source.grey);
  EXPECT_EQ(own.source.folder.size, 32);
  EXPECT_EQ(own.source.folder.resize, "squash");
  EXPECT_EQ(own.source.folder.corrupt, "fail");
  EXPECT_EQ(own.source.folder.test_share, 0.4);
  EXPECT_EQ(own.amounts.validation, 0.3);
  EXPECT_EQ(own.amounts.train_per_class, 7);
  EXPECT_EQ(own.amounts.test_per_class, 6);
  EXPECT_EQ(o.least_validation(), 0.1);
}

TEST(TaskConfig, StandsAloneWhereDataNamesNoSource) {
  const std::string one = "[[task]]\nsource = \"synthetic\"\n";
  EXPECT_EQ(read(one).source.name, "");
  EXPECT_EQ(make_stream(read(one)).tasks.size(), 1u);
  EXPECT_EQ(read(one + "validation = 0.5\n").least_validation(), 0.5);
  const Stream both =
      make_stream(read("[data]\nsource = \"synthetic\"\n[stream]\nsplit = \"chunks\"\n"
                       "classes_per_task = 5\n" +
                       one + "name = \"all\"\n"));
  ASSERT_EQ(both.tasks.size(), 3u);
  EXPECT_EQ(both.tasks[1].name, "5/6/7/8/9");
  EXPECT_EQ(both.tasks[2].name, "all");
  EXPECT_EQ(both.tasks[2].classes.size(), 10u);
  EXPECT_EQ(both.tasks[0].source, both.tasks[2].source);
}

TEST(TaskConfig, TheResolvedConfigReadsTheSame) {
  for (const char* toml :
       {"[[task]]\nsource = \"synthetic\"\nclasses = [1, \"4\"]\n[task.synthetic]\nwidth = 4\n",
        "[data]\nsource = \"synthetic\"\n[stream]\nsplit = \"chunks\"\n[[task]]\n", ""}) {
    Config config = Config::parse(toml, "test");
    const StreamOptions first = read_stream_options(config, 1);
    Config again = Config::parse(config.resolved(), "resolved");
    const StreamOptions second = read_stream_options(again, 1);
    again.finish();
    EXPECT_EQ(again.resolved(), config.resolved());
    EXPECT_EQ(second.source, first.source);
    ASSERT_EQ(second.tasks.size(), first.tasks.size());
    for (std::size_t i = 0; i < first.tasks.size(); ++i) {
      EXPECT_EQ(second.tasks[i].source, first.tasks[i].source);
      EXPECT_EQ(second.tasks[i].classes, first.tasks[i].classes);
    }
  }
}

TEST(TaskConfig, AFileOfOneTaskCanBeAppended) {
  Config run =
      Config::parse("[data]\nsource = \"synthetic\"\n[stream]\nsplit = \"chunks\"\n", "run");
  const StreamOptions before = read_stream_options(run, 1);
  Config task =
      Config::parse("name = \"new\"\nclasses = [0, 1, 2]\nvalidation = 0.4\n", "task.toml");
  const TaskOptions alone = read_task_options(task, "", before);
  task.finish();
  Config longer = Config::parse(run.resolved(), "run");
  longer.append_table("task", task);
  const StreamOptions after = read_stream_options(longer, 1);
  longer.finish();
  ASSERT_EQ(after.tasks.size(), 1u);
  EXPECT_EQ(after.tasks[0].name, "new");
  EXPECT_EQ(after.tasks[0].source, alone.source);
  EXPECT_EQ(after.tasks[0].amounts.validation, 0.4);
  const Stream stream = make_stream(after);
  ASSERT_EQ(stream.tasks.size(), 6u);
  EXPECT_EQ(stream.tasks[4].train, make_stream(before).tasks[4].train);
  EXPECT_EQ(stream.tasks[5].classes.size(), 3u);
}

TEST(TaskConfig, RefusesWhatDoesNotFit) {
  const std::string one = "[[task]]\nsource = \"synthetic\"\n";
  refuse("[[task]]\nname = \"x\"\n", {"task.1.source", "data.source"});
  refuse("[[task]]\nsource = \"folders\"\n", {"task.1.source", "did you mean \"folder\""});
  refuse("[[task]]\nsource = \"synthetic\"\nsizes = 3\n", {"task.1.sizes", "task.1.size"});
  refuse(one + "classes = [\"ten\", 1]\n", {"task.1.classes", "\"ten\"", "no class of synthetic"});
  refuse(one + "classes = [1, 10]\n", {"task.1.classes", "class 10", "0 to 9"});
  refuse(one + "classes = [1, \"1\"]\n", {"task.1.classes", "class 1", "twice"});
  refuse(one + "classes = [1]\n", {"task.1", "1 classes", "at least two"});
  refuse(one + one, {"two tasks are named \"synthetic\"", "name"});
  refuse("[stream]\nonly = [1]\n" + one, {"stream.only", "data.source"});
  refuse("[stream]\ngroups = [[0, 1]]\n" + one, {"stream.groups", "data.source"});
  refuse(one + "name = \"a\"\n" + one + "name = \"b\"\n[task.synthetic]\nchannels = 1\n",
         {"1 channels", "data.grey = true"});
  test::expect_error(ErrorKind::failure, {"task.1.train_per_class = 41"},
                     [&] { make_stream(read(one + "train_per_class = 41\n")); });
}

TEST(TaskConfig, GreyMakesOneChannelOfThree) {
  SourceOptions options;
  const Source colours = load_source(options);
  options.grey = true;
  const Source grey = load_source(options);
  EXPECT_EQ(grey.train.channels, 1);
  const std::size_t plane = 64;
  ASSERT_EQ(grey.train.pixels.size() * 3, colours.train.pixels.size());
  for (std::size_t i = 0; i < 5 * plane; ++i) {
    const std::uint8_t* red = &colours.train.pixels[i / plane * 3 * plane + i % plane];
    const double luma = 0.299 * red[0] + 0.587 * red[plane] + 0.114 * red[2 * plane];
    EXPECT_NEAR(grey.train.pixels[i], luma, 0.51);
  }
  options.synthetic.channels = 4;
  test::expect_error(ErrorKind::usage, {"data.grey", "4"}, [&] { load_source(options); });
}

}  // namespace
}  // namespace cmat::data
