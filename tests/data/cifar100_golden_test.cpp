// CIFAR-100's tables against recorded facts, and, where CMAT_CIFAR100 names a folder that holds the
// data set, the data itself.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "cmat/core/files.h"
#include "cmat/data/source.h"
#include "cmat/data/statistics.h"
#include "cmat/data/stream.h"
#include "data/helpers.h"
#include "golden_file.h"

namespace cmat::data {
namespace {

const nlohmann::json& facts() {
  static const nlohmann::json json = test::golden("cifar100.json");
  return json;
}

TEST(Cifar100Golden, Names) {
  const nlohmann::json& labels = facts().at("labels");
  EXPECT_EQ(cifar100_class_names(), labels.at("fine_names").get<std::vector<std::string>>());
  EXPECT_EQ(cifar100_superclass_names(), labels.at("coarse_names").get<std::vector<std::string>>());
  EXPECT_EQ(cifar100_superclass_of_class(), labels.at("coarse_of_fine").get<std::vector<int>>());
}

TEST(Cifar100Golden, NamesAreAlphabeticalAndSuperclassesHaveFiveClasses) {
  const auto &names = cifar100_class_names(), &supers = cifar100_superclass_names();
  EXPECT_EQ(names.size(), 100u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(supers.size(), 20u);
  EXPECT_TRUE(std::is_sorted(supers.begin(), supers.end()));
  for (int s = 0; s < 20; ++s) {
    const auto& of = cifar100_superclass_of_class();
    EXPECT_EQ(std::count(of.begin(), of.end(), s), 5) << supers[static_cast<std::size_t>(s)];
  }
}

TEST(Cifar100Golden, SuperclassTasks) {
  // A CIFAR-100 of two training images and one test image a class.
  const test::TemporaryFolder folder;
  std::string train, test_records;
  for (int id = 0; id < 100; ++id) {
    const int super = cifar100_superclass_of_class()[static_cast<std::size_t>(id)];
    for (int copy = 0; copy < 2; ++copy) train += test::cifar_record({super, id}, id);
    test_records += test::cifar_record({super, id}, id);
  }
  test::write(folder / "train.bin", train);
  test::write(folder / "test.bin", test_records);

  StreamOptions options;
  options.source.name = "cifar100";
  options.source.root = folder.path();
  options.split = "superclasses";
  options.amounts.validation = 0.5;
  const Stream stream = make_stream(options);
  ASSERT_EQ(stream.tasks.size(), 20u);
  ASSERT_EQ(facts().at("tasks").size(), 20u);
  for (const auto& [name, task] : facts().at("tasks").items()) {
    const Task& made = stream.tasks.at(task.at("task").get<std::size_t>() - 1);
    EXPECT_EQ(made.name, name);
    EXPECT_EQ(made.classes, task.at("fine_ids_in_order").get<std::vector<std::int64_t>>());
    EXPECT_EQ(made.class_names, task.at("fine_names").get<std::vector<std::string>>());
    EXPECT_EQ(made.train.size(), 5u);
    EXPECT_EQ(made.validation.size(), 5u);
    EXPECT_EQ(made.test.size(), 5u);
    for (const std::int64_t i : made.test) {
      EXPECT_GE(made.label_of(stream.tasks[0].source->test.labels[static_cast<std::size_t>(i)]), 0);
    }
  }
}

/// The digest of all records, sorted as byte strings, so that it does not depend on their order.
std::string sorted_record_digest(const ImageSet& set) {
  std::vector<std::string> records;
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    const auto label = static_cast<std::size_t>(set.labels[i]);
    std::string record = {static_cast<char>(cifar100_superclass_of_class()[label]),
                          static_cast<char>(label)};
    record.append(reinterpret_cast<const char*>(set.pixels.data()) + i * 3072, 3072);
    records.push_back(std::move(record));
  }
  // Not std::string's order: its characters may be signed.
  std::sort(records.begin(), records.end(), [](const std::string& a, const std::string& b) {
    return std::memcmp(a.data(), b.data(), a.size()) < 0;
  });
  return sha256_hex(std::accumulate(
      records.begin(), records.end(), std::string(),
      [](std::string all, const std::string& record) { return std::move(all) + record; }));
}

void check_split(const ImageSet& set, const std::string& split) {
  SCOPED_TRACE(split);
  const auto& bytes = facts().at("bytes").at(split);
  EXPECT_EQ(set.size(), bytes.at("records").get<std::int64_t>());
  EXPECT_EQ(sorted_record_digest(set), bytes.at("sorted_record_sha256").get<std::string>());

  const auto& per_class = facts().at("per_class").at(split);
  EXPECT_EQ(images_per_class(set, 100), per_class.at("count").get<std::vector<std::int64_t>>());
  std::vector<std::int64_t> sums(100, 0);
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    const auto* image = set.pixels.data() + i * 3072;
    sums[static_cast<std::size_t>(set.labels[i])] +=
        std::accumulate(image, image + 3072, std::int64_t{0});
  }
  EXPECT_EQ(sums, per_class.at("pixel_sum").get<std::vector<std::int64_t>>());

  const ChannelStatistics measured = channel_statistics(set);
  const auto& statistics = facts().at("statistics").at(split);
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(measured.mean[c], statistics.at("mean")[c].get<double>(), 1e-12);
    EXPECT_NEAR(measured.deviation[c], statistics.at("std_population")[c].get<double>(), 1e-12);
  }
}

TEST(Cifar100Golden, TheDataItself) {
  const char* root = std::getenv("CMAT_CIFAR100");
  if (!root || !*root) GTEST_SKIP() << "CMAT_CIFAR100 does not name a folder with CIFAR-100";
  SourceOptions options;
  options.name = "cifar100";
  options.root = root;
  const Source source = load_source(options);
  check_split(source.train, "train");
  check_split(source.test, "test");
}

}  // namespace
}  // namespace cmat::data
