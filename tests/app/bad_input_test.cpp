// Whatever is wrong in a call, a config or the data: one sentence, the right exit status, and no
// run folder left behind.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/tiny_run.h"

namespace cmat::test {
namespace {

class BadInput : public ::testing::Test {
 protected:
  /// `cmat train` on tiny.toml with these changes is refused and makes nothing.
  void refuse(const Arguments& assignments, int status, const std::vector<std::string>& parts,
              const Arguments& more = {}) {
    const fs::path out = folder_ / "out";
    expect_refused(train_tiny(out, assignments) + more, status, parts);
    EXPECT_FALSE(fs::exists(out));
  }

  TemporaryFolder folder_;
};

TEST_F(BadInput, UnknownKey) {
  refuse({"compact.epoch=3"}, 2, {"unknown key compact.epoch", "did you mean compact.epochs?"});
  refuse({"treat.norm=l2"}, 2, {"unknown key treat.norm", "did you mean threat.norm?"});
  refuse({"zzz=1"}, 2, {"unknown key zzz"});
}

TEST_F(BadInput, WrongType) {
  refuse({"compact.epochs=three"}, 2, {"compact.epochs", "integer", "the string \"three\""});
  refuse({"compact.epochs=2.5"}, 2, {"compact.epochs", "integer", "2.5"});
  refuse({"optimizer.nesterov=1"}, 2, {"optimizer.nesterov", "true or false"});
  refuse({"method.name=[1]"}, 2, {"method.name", "a list"});
  refuse({"method.targets=0.5"}, 2, {"method.targets", "a list of numbers"});
}

TEST_F(BadInput, OutOfRange) {
  refuse({"compact.epochs=-1"}, 2, {"compact.epochs", "from 0"});
  refuse({"compact.epochs=0"}, 2, {"compact.epochs", "no task would be trained"});
  refuse({"method.targets=[0.5,0.3]"}, 2, {"method.targets", "ascending"});
  refuse({"compact.ramp_begin=0.9"}, 2, {"compact.ramp_end", "compact.ramp_begin"});
}

TEST_F(BadInput, RadiusInLevelsOf255) {
  refuse({"threat.eps=\"8\""}, 2, {"threat.eps", "did you mean \"8/255\"?"});
  refuse({"threat.eps=8"}, 2, {"threat.eps", "did you mean \"8/255\"?"});
  refuse({"threat.eps=\"8/0\""}, 2, {"threat.eps", "8/0"});
  refuse({"threat.eps=-0.1"}, 2, {"threat.eps", "not negative"});
}

TEST_F(BadInput, UnknownNames) {
  refuse({"method.name=cpg"}, 2, {"method.name", "\"cmat\", \"packnet\", \"individual\""});
  refuse({"network.architecture=resnet9"}, 2,
         {"network.architecture", "did you mean \"resnet8\"?"});
  refuse({"data.source=cifar-10"}, 2, {"cifar-10", "cifar10"});
  refuse({"objective.name=trade"}, 2, {"objective.name"});
  refuse({"threat.norm=l3"}, 2, {"threat.norm", "linf"});
  refuse({"objective.name=anp-vs", "network.architecture=linear"}, 2,
         {"batch norms", "linear", "network.architecture"});
}

TEST_F(BadInput, Settings) {
  refuse({"threat.eps"}, 2, {"--set needs KEY=VALUE", "threat.eps"});
  refuse({"threat={eps=1}"}, 2, {"--set threat", "table"});
  refuse({"seed.x=1"}, 2, {"seed.x", "needs a table"});
}

TEST_F(BadInput, ClassGroups) {
  const auto groups = [](const std::string& list) {
    return Arguments{"stream.split=groups", "stream.groups=" + list};
  };
  refuse(groups("[[0,1],[2,9]]"), 2, {"stream.groups", "class 9", "0 to 5"});
  refuse(groups("[[0,1],[2,-1]]"), 2, {"stream.groups", "class -1"});
  refuse(groups("[[0,1],[1,2]]"), 2, {"stream.groups", "class 1", "twice"});
  refuse(groups("[[0,1],[2]]"), 2, {"stream.groups", "at least two"});
  refuse(groups("[]"), 2, {"stream.groups is empty"});
  refuse({"stream.classes_per_task=4"}, 2, {"stream.classes_per_task = 4", "6 classes"});
}

TEST_F(BadInput, DecisionsWithoutValidationImages) {
  const std::vector<std::string> parts = {"data.validation is 0", "set data.validation"};
  refuse({"data.validation=0", "method.select=best"}, 2, parts);
  refuse({"data.validation=0", "repick.epochs=1"}, 2, parts);
  refuse({"data.validation=0", "train.epochs=1", "method.compaction=progressive"}, 2, parts);
}

TEST_F(BadInput, ImageTooSmall) {
  refuse({"network.architecture=vgg16_bn"}, 2, {"image is too small", "network"});
}

TEST_F(BadInput, Device) {
  refuse({}, 2, {"--device", "\"tpu\""}, {"--device", "tpu"});
  if (::access("/dev/nvidiactl", F_OK) == 0) GTEST_SKIP() << "this machine may have CUDA";
  refuse({}, 2, {"--device cuda", "no CUDA device"}, {"--device", "cuda"});
}

TEST_F(BadInput, DataThatIsNotThere) {
  const std::string root = (folder_ / "nothing").string();
  refuse({"data.source=cifar10", "data.root=" + root}, 1,
         {"cifar10 is not here", root, "cmat data fetch"});
  refuse({"data.source=idx", "data.root=" + root}, 1, {"idx is not here", root});
}

TEST_F(BadInput, TruncatedCifarFile) {
  const fs::path root = folder_ / "cifar";
  fs::create_directories(root);
  for (const char* name : {"train.bin", "test.bin"}) {
    write_file_atomic(root / name, std::string(3074 * 2, '\0'));
  }
  fs::resize_file(root / "train.bin", 3074 + 100);
  refuse({"data.source=cifar100", "data.root=" + root.string()}, 1,
         {"train.bin", "3174 bytes", "get it again"});
}

/// An IDX file of so many 28x28 images, or labels, without the last `missing` bytes.
std::string idx_file(bool images, char count, std::size_t missing) {
  std::string file = {0, 0, 8, static_cast<char>(images ? 3 : 1), 0, 0, 0, count};
  if (images) file += std::string{0, 0, 0, 28, 0, 0, 0, 28};
  file += std::string(static_cast<std::size_t>(count) * (images ? 784 : 1), '\0');
  return file.substr(0, file.size() - missing);
}

TEST_F(BadInput, TruncatedIdxFile) {
  const fs::path root = folder_ / "idx";
  fs::create_directories(root);
  for (const std::string part : {"train", "t10k"}) {
    write_file_atomic(root / (part + "-images-idx3-ubyte"),
                      idx_file(true, 4, part == "train" ? 5 : 0));
    write_file_atomic(root / (part + "-labels-idx1-ubyte"), idx_file(false, 4, 0));
  }
  refuse({"data.source=mnist", "data.root=" + root.string()}, 1,
         {"train-images-idx3-ubyte", "cut off", "get it again"});
}

TEST_F(BadInput, ConfigFile) {
  const fs::path config = folder_ / "bad.toml";
  const std::string out = (folder_ / "out").string();
  write_file_atomic(config, "seed = 1\n\n[method\nname = \"cmat\"\n");
  expect_refused({"train", config.string(), "--out", out}, 2, {config.string(), "line 3"});
  write_file_atomic(config, "seed = 1\n[stream]\nclases_per_task = 2\n");
  expect_refused({"train", config.string(), "--out", out}, 2,
                 {"stream.clases_per_task", "line 3", "did you mean stream.classes_per_task?"});
  write_file_atomic(config, std::string("\xff\xfe\0\1", 4));
  expect_refused({"train", config.string(), "--out", out}, 2, {config.string(), "line 1"});
  expect_refused({"train", (folder_ / "no.toml").string()}, 2, {"cannot read", "no.toml"});
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(BadInput, Calls) {
  expect_refused({}, 2, {"subcommand is required", "--help"});
  expect_refused({"tarin"}, 2, {"--help"});
  expect_refused({"train"}, 2, {"config is required"});
  expect_refused({"show"}, 2, {"RUN is required"});
  expect_refused({"verify", "a", "b"}, 2, {"not expected: b"});
  expect_refused({"train", "a.toml", "--lr", "3"}, 2, {"not expected", "--lr"});
  expect_refused({"train", "a.toml", "--threads", "0"}, 2, {"--threads", "1 to 4096"});
  expect_refused({"train", "a.toml", "--threads", "many"}, 2, {"--threads", "many"});
  expect_refused({"eval", "a", "--limit", "-3"}, 2, {"--limit"});
}

TEST_F(BadInput, FoldersThatAreNoRuns) {
  const std::string path = folder_.path().string();
  expect_refused({"train", path, "--resume"}, 2, {path, "is not a run folder"});
  expect_refused({"eval", path}, 2, {path, "is not a run folder"});
  expect_refused({"verify", path}, 2, {path, "is not a run folder"});
  expect_refused({"show", path}, 2, {path, "is not a run of CMAT"});
  expect_refused({"show", path + "/nothing"}, 2, {"there is no folder", "nothing"});
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST(BadCommand, IsCorrected) {
  expect_refused({"trian", "configs/tiny.toml"}, 2, {"\"trian\"", "did you mean train?"});
  expect_refused({"completely-else"}, 2, {"\"completely-else\"", "--help"});
}

}  // namespace
}  // namespace cmat::test
