// Runs on folders of pictures.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "app/expect_refused.h"
#include "app/picture_folder.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/error.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

/// Two tasks of two classes, of folders with and without test/, at different sizes in one file.
class PicturesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_pictures(folder_ / "photos/animals/train", {"cat", "owl"}, 24, 40);
    write_pictures(folder_ / "photos/animals/test", {"cat", "owl"}, 8, 40);
    write_pictures(folder_ / "photos/vehicles", {"car", "tram"}, 30, 30);
    write_file_atomic(config_, text(R"(
[data]
size = 16
validation = 0.0
[[task]]
source = "folder"
root = ")",
                                    (folder_ / "photos/animals").string(), R"("
[[task]]
source = "folder"
root = ")",
                                    (folder_ / "photos/vehicles").string(), R"("
[augment]
flip = true
random_resized_crop = 0.5
cutout = 4
[network]
architecture = "tinybn"
[threat]
eps = "2/255"
[objective]
steps = 1
[optimizer]
batch = 16
[compact]
epochs = 6
[evaluation]
steps = 2
batch = 16
)"));
  }

  Arguments train(const fs::path& out, const Arguments& assignments = {}) const {
    return Arguments{"train", config_.string(), "--out", out.string(), "--threads", "1"} +
           set(assignments);
  }

  TemporaryFolder folder_;
  const fs::path config_ = folder_ / "pictures.toml";
  const fs::path run_ = folder_ / "run";
};

TEST_F(PicturesTest, AreLearnedAndVerified) {
  expect_success(run_program(train(run_)));
  const json results = read_json(run_ / "results.json");
  EXPECT_EQ(results.at("source"), "animals/, vehicles/");
  ASSERT_EQ(results.at("tasks").size(), 2u);
  EXPECT_EQ(results.at("tasks")[0].at("name"), "animals/");
  EXPECT_EQ(results.at("tasks")[0].at("source"), "animals/");
  EXPECT_EQ(results.at("tasks")[0].at("classes"), json({"cat", "owl"}));
  EXPECT_EQ(results.at("tasks")[0].at("train"), 48);
  EXPECT_EQ(results.at("tasks")[1].at("train"), 48);
  EXPECT_EQ(results.at("tasks")[1].at("test"), 12);
  // Stripes of another direction and colour: anything that sees its images learns them.
  EXPECT_GT(results.at("summary").at("clean").at("average"), 0.9);
  const Outcome verified = run_program({"verify", run_.string(), "--threads", "1"});
  EXPECT_EQ(verified.status, 0) << verified.err;
}

TEST_F(PicturesTest, GiveTheSameModelHoweverManyThreadsDecode) {
  expect_success(run_program(train(run_, {"data.workers=1"})));
  const fs::path other = folder_ / "other";
  expect_success(run_program(train(other, {"data.workers=3", "data.cache_mb=0"})));
  for (const char* name : {"results.json", "verdicts.jsonl"}) {
    EXPECT_TRUE(read_file(run_ / name) == read_file(other / name)) << name << " differs";
  }
  // The file holds the config as well, in which the two differ.
  const auto tensors = [](const fs::path& run) {
    TensorFile file = read_tensor_file(run / "model.safetensors");
    file.metadata.clear();
    return serialize_tensor_file(file);
  };
  EXPECT_TRUE(tensors(run_) == tensors(other));
}

TEST_F(PicturesTest, AreResumedToTheSameEnd) {
  const Arguments often = {"checkpoint.every_steps=1"};
  expect_success(run_program(train(run_, often)));
  const fs::path stopped = folder_ / "stopped";
  Program program(train(stopped, often));
  // In the middle of an epoch, and with batches made ready.
  EXPECT_TRUE(program.send_when(SIGKILL, [&] { return events_of(stopped).size() >= 4; }));
  program.wait();
  expect_success(run_program({"train", stopped.string(), "--resume", "--threads", "1"}));
  expect_same_end(stopped, run_);
}

TEST_F(PicturesTest, AreLeftOutOrRefusedWhenDamaged) {
  const fs::path broken = folder_ / "photos/animals/train/cat/0.jpg";
  write_file_atomic(broken, read_file(broken).substr(0, 300));
  const Outcome outcome = run_program(train(run_, {"compact.epochs=1"}));
  expect_success(outcome);
  EXPECT_NE(outcome.err.find("warning: cannot use the picture " + broken.string()),
            std::string::npos)
      << outcome.err;
  EXPECT_EQ(read_json(run_ / "results.json").at("tasks")[0].at("train"), 47);
  expect_refused(train(folder_ / "strict", {"data.corrupt=fail"}), 1,
                 {broken.string(), "damaged JPEG"});
  EXPECT_FALSE(fs::exists(folder_ / "strict"));
}

TEST_F(PicturesTest, MustFitTheNetwork) {
  // The first task's pictures set the size of a layer that flattens.
  expect_refused(train(run_, {"task.2.size=24", "network.architecture=small_cnn"}), 2,
                 {"task 2", "24x24", "16x16", "small_cnn", "data.size"});
}

TEST_F(PicturesTest, AreDescribed) {
  const fs::path animals = folder_ / "photos/animals";
  const Outcome outcome =
      run_program({"data", "info", "folder", "--root", animals.string(), "--json"});
  expect_success(outcome);
  const json info = json::parse(outcome.out);
  EXPECT_EQ(info.at("classes"), json({"cat", "owl"}));
  EXPECT_EQ(info.at("train").at("images"), 48);
  EXPECT_EQ(info.at("test").at("per_class"), json({8, 8}));
  EXPECT_EQ(info.at("bytes"), 64 * 3 * 64 * 64);
}

/// The commands of a document's sh blocks.
std::string commands_of(const fs::path& document) {
  std::ifstream in(document);
  std::string commands;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      inside = line == "```sh";
    } else if (inside) {
      commands += line + "\n";
    }
  }
  return commands;
}

TEST(Tutorial, EveryCommandWorks) {
  const fs::path source = environment("CMAT_SOURCE_DIR");
  const fs::path program = environment("CMAT_PROGRAM");
  const std::string commands = commands_of(source / "docs/tutorial-pictures.md");
  for (const char* part :
       {"data info", "train", "--resume", "show", "eval", "verify", "predict", "export", "add"}) {
    ASSERT_NE(commands.find(part), std::string::npos) << part;
  }
  const TemporaryFolder folder;
  write_pictures(folder / "photos/animals/train", {"cat", "owl"}, 8, 70);
  write_pictures(folder / "photos/animals/test", {"cat", "owl"}, 4, 70);
  write_pictures(folder / "photos/vehicles", {"car", "tram"}, 10, 90);
  // The same run, but smaller.
  std::string config = read_file(source / "configs/pictures.toml");
  for (const auto& [from, to] :
       {std::pair("size = 64", "size = 16"), std::pair("epochs = 40", "epochs = 3"),
        std::pair("batch = 100", "batch = 16")}) {
    const std::size_t at = config.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    config.replace(at, std::string(from).size(), to);
  }
  fs::create_directory(folder / "configs");
  write_file_atomic(folder / "configs/pictures.toml", config);
  write_file_atomic(folder / "commands.sh",
                    "set -e\ncd '" + folder.path().string() + "'\nexport PATH='" +
                        program.parent_path().string() + "':\"$PATH\"\n" + commands);
  const std::string shell =
      "sh '" + (folder / "commands.sh").string() + "' > '" + (folder / "log").string() + "' 2>&1";
  EXPECT_EQ(std::system(shell.c_str()), 0) << read_file(folder / "log");
  EXPECT_TRUE(fs::exists(folder / "runs/pictures/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder / "runs/pictures/attacked.svg"));
  EXPECT_TRUE(fs::exists(folder / "runs/animals.onnx"));
  EXPECT_EQ(read_json(folder / "runs/pictures-3/results.json").at("tasks").size(), 3U);
}

}  // namespace
}  // namespace cmat::test
