// cmat attack on a real TorchScript file, the one that cmat export writes, and its refusals.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "app/expect_refused.h"
#include "app/tiny_run.h"
#include "cmat/core/config.h"
#include "cmat/core/tensor_file.h"
#include "cmat/data/stream.h"

namespace cmat::test {
namespace {

class Attack : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    // Without an attack in training, so that few steps are enough for a network that answers well.
    train_to_end(run(), {"compact.epochs=10", "objective.name=standard", "network.width=2",
                         "data.synthetic.train_per_class=60"});
    expect_success(
        run_program({"export", run().string(), "--task", "1", "-o", path("net.pt").string()}));
    evaluated_ = new json(
        json::parse(run_program({"eval", run().string(), "--threads", "1", "--json", "--tasks", "1",
                                 "--attack", "clean,bim10", "--eps", "8/255"})
                        .out));
    write_images(path("images.safetensors"));
  }
  static void TearDownTestSuite() {
    delete evaluated_;
    delete folder_;
  }

  static fs::path run() { return *folder_ / "run"; }
  static fs::path path(const std::string& name) { return *folder_ / name; }

  /// Task 1's test images with their labels, in the order of the verdicts of cmat eval.
  static void write_images(const fs::path& file, const std::vector<float>& instead = {}) {
    Config config = Config::load(run() / "config.toml");
    const auto seed = static_cast<std::uint64_t>(config.integer("seed", 1, 0, INT64_MAX));
    const data::Stream stream = data::make_stream(data::read_stream_options(config, seed));
    const data::ImageSet& test = stream.tasks.at(0).source->test;
    const json& verdicts = evaluated_->at("verdicts").at(0);
    TensorFile tensors;
    TensorBytes images{Dtype::u8, {0, 3, 8, 8}, {}}, labels{Dtype::i64, {0}, {}};
    for (std::size_t i = 0; i < verdicts.at("images").size(); ++i) {
      const auto begin = verdicts["images"][i].get<std::int64_t>() * test.bytes_per_image();
      images.bytes.append(reinterpret_cast<const char*>(test.pixels.data()) + begin,
                          static_cast<std::size_t>(test.bytes_per_image()));
      const auto label = verdicts["labels"][i].get<std::int64_t>();
      labels.bytes.append(reinterpret_cast<const char*>(&label), sizeof label);
      ++images.shape[0];
      ++labels.shape[0];
    }
    if (!instead.empty()) {
      images = {Dtype::f32, {1, 3, 8, 8}, std::string(3 * 8 * 8 * sizeof(float), '\0')};
      std::memcpy(images.bytes.data(), instead.data(), instead.size() * sizeof(float));
      labels = {Dtype::i64, {1}, std::string(8, '\0')};
    }
    tensors.tensors = {{"images", images}, {"labels", labels}};
    write_tensor_file(file, tensors);
  }

  static Arguments call(const Arguments& more, const std::string& images = "images.safetensors") {
    return Arguments{"attack",    path("net.pt").string(),
                     "--images",  path(images).string(),
                     "--threads", "1"} +
           more;
  }
  static json attack(const Arguments& more) {
    const Outcome outcome = run_program(call(Arguments{"--json"} + more));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.status == 0 ? json::parse(outcome.out) : json::object();
  }

  static inline TemporaryFolder* folder_ = nullptr;
  static inline json* evaluated_ = nullptr;
};

TEST_F(Attack, GivesWhatCmatEvalGives) {
  const json result = attack({"--attack", "clean,bim10", "--eps", "8/255", "--batch", "40"});
  ASSERT_EQ(result.at("evaluations").size(), 2u);
  for (std::size_t i : {0, 1}) {
    const json &ours = result["evaluations"][i], &theirs = evaluated_->at("evaluations")[i];
    EXPECT_EQ(ours.at("attack"), theirs.at("attack"));
    EXPECT_EQ(ours.at("total"), theirs.at("total"));
    // The same attack from the same start; only the kernels' rounding may differ.
    EXPECT_NEAR(ours.at("correct").get<double>(), theirs.at("correct").get<double>(), i);
  }
  EXPECT_EQ(result["verdicts"][0].at("predictions"),
            evaluated_->at("verdicts")[0].at("predictions"));
  EXPECT_EQ(result.at("threat_models")[0].at("eps"), "0.0313725 (8/255)");
  for (const json& check : result.at("checks"))
    EXPECT_FALSE(check.at("raised").get<bool>() && check.at("check") != "still-rising") << check;
  for (const char* name : {"randomised", "softmax-output", "zero-gradients", "batch-statistics",
                           "eps-zero", "unbounded", "train-mode", "silent-success"}) {
    int found = 0;
    for (const json& check : result.at("checks")) found += check.at("check") == name;
    EXPECT_EQ(found, 1) << name;
  }
}

TEST_F(Attack, LogitsAreARangeAndLabelsCountAllOutputs) {
  write_file_atomic(path("labels.txt"), [] {
    std::string lines;
    for (std::size_t i = 0; i < evaluated_->at("verdicts")[0].at("images").size(); ++i)
      lines += "1\n";
    return lines;
  }());
  const json whole = attack({"--attack", "clean", "--logits", "0:2"});
  EXPECT_EQ(whole["verdicts"][0].at("predictions"),
            evaluated_->at("verdicts")[0].at("predictions"));
  expect_refused(call({"--logits", "1:2"}), 2, {"2 classes or more", "1 logit"});
  expect_refused(call({"--logits", "1:7"}), 2, {"--logits 1:7", "0:2"});
  expect_refused(call({"--logits", "2:1"}), 2, {"--logits", "5:10", "\"2:1\""});
  expect_refused(call({"--logits", "some"}), 2, {"--logits", "\"some\""});
  expect_refused(call({"--labels", "2"}), 2, {"label 2", "outputs 0 to 1"});
  EXPECT_EQ(
      attack({"--attack", "clean", "--labels", path("labels.txt").string()})["evaluations"][0].at(
          "total"),
      evaluated_->at("evaluations")[0].at("total"));
}

TEST_F(Attack, NormalisationStandsInFrontOfTheNetwork) {
  // (x - 0) / 1 changes nothing; another one does.
  const json same = attack({"--attack", "clean", "--mean", "0,0,0", "--std", "1"});
  EXPECT_EQ(same["verdicts"][0].at("predictions"), evaluated_->at("verdicts")[0].at("predictions"));
  const json other = attack({"--attack", "clean", "--mean", "1,1/1,1", "--std", "1"});
  EXPECT_NE(other["verdicts"][0].at("predictions"),
            evaluated_->at("verdicts")[0].at("predictions"));
  expect_refused(call({"--std", "0"}), 2, {"--std", "above 0"});
  expect_refused(call({"--mean", "125,120,110"}), 2, {"--mean", "divide by 255"});
  expect_refused(call({"--mean", "0.5,0.5"}), 2, {"--mean has 2 values", "3 channels"});
}

TEST_F(Attack, ImagesThatAreNone) {
  const auto refuse = [](float pixel, const std::vector<std::string>& parts) {
    write_images(path("bad.safetensors"), {0.5f, pixel});
    expect_refused(call({}, "bad.safetensors"), 2, parts);
  };
  refuse(std::numeric_limits<float>::quiet_NaN(), {"not finite", "bad.safetensors"});
  refuse(-1.7f, {"[0,1]", "normalised already", "--mean and --std"});
  refuse(200.0f, {"[0,1]", "divide values of 0 to 255 by 255"});
  TensorFile file;
  file.tensors["x"] = {Dtype::f32, {1}, std::string(4, '\0')};
  write_tensor_file(path("bad.safetensors"), file);
  expect_refused(call({}, "bad.safetensors"), 2, {"no tensor \"images\"", "x"});
  file.tensors["images"] = {Dtype::f32, {1, 3, 2}, std::string(24, '\0')};
  write_tensor_file(path("bad.safetensors"), file);
  expect_refused(call({}, "bad.safetensors"), 2,
                 {"\"images\"", "[images, channels, height, width]"});
  file.tensors["images"] = {Dtype::f32, {1, 1, 8, 8}, std::string(256, '\0')};
  write_tensor_file(path("bad.safetensors"), file);
  expect_refused(call({}, "bad.safetensors"), 2, {"--labels"});
  expect_refused(call({"--labels", "0"}, "bad.safetensors"), 2, {"refuses images", "[1, 1, 8, 8]"});
  expect_refused(call({}, "none"), 2, {"--images", "does not exist"});
}

TEST_F(Attack, NetworksThatAreNone) {
  write_file_atomic(path("state.pt"), "not a network");
  expect_refused({"attack", path("state.pt").string(), "--images",
                  path("images.safetensors").string(), "--threads", "1"},
                 2, {"state.pt is no TorchScript file", "torch.jit.trace"});
  expect_refused({"attack", path("none.pt").string(), "--images",
                  path("images.safetensors").string(), "--threads", "1"},
                 2, {"no file", "none.pt"});
  expect_refused(call({"--eps", "0"}), 2, {"above 0", "--eps"});
  expect_refused(call({"--eps", "-1"}), 2, {"--eps"});
  expect_refused(call({"--attack", "frob"}), 2, {"no attack \"frob\""});
  expect_refused(call({"--norm", "l2"}), 2, {"--norm l2 needs --eps"});
}

TEST_F(Attack, TargetsAreANumberTheNextClassOrAFile) {
  const json any = attack({"--attack", "clean,bim10", "--no-checks"});
  const json next = attack({"--attack", "clean,bim10", "--targets", "next"});
  EXPECT_EQ(next.at("protocol"), "task-aware-targeted");
  EXPECT_EQ(next.at("targets"), json::parse(R"({"asked": "next", "left_out": 0})"));
  ASSERT_EQ(next.at("evaluations").size(), 2u);
  const std::int64_t total = next["evaluations"][1].at("total");
  for (std::size_t i : {0, 1}) {
    // There are two classes, so what is not right is there.
    const json &row = next["evaluations"][i], &verdicts = next["verdicts"][i];
    EXPECT_EQ(row.at("reached").get<std::int64_t>() + row.at("correct").get<std::int64_t>(), total);
    EXPECT_DOUBLE_EQ(row.at("success").get<double>() + row.at("accuracy").get<double>(), 1);
    EXPECT_NEAR(row.at("success_interval")[0].get<double>(),
                1 - row.at("interval")[1].get<double>(), 1e-12);
    for (std::size_t k = 0; k < verdicts.at("labels").size(); ++k)
      EXPECT_EQ(verdicts["targets"][k].get<int>(), 1 - verdicts["labels"][k].get<int>());
    // The way there is the way away, up to the rounding of another loss.
    EXPECT_NEAR(row.at("correct").get<double>(), any["evaluations"][i].at("correct").get<double>(),
                static_cast<double>(i));
  }
  EXPECT_NE(next["evaluations"][1].at("recipe").get<std::string>().find("the class after"),
            std::string::npos);
  EXPECT_EQ(next["worst_case"][0].at("reached"), next["evaluations"][1].at("reached"));
  EXPECT_FALSE(any["evaluations"][1].contains("reached"));
  for (const json& check : next.at("checks")) {
    EXPECT_NE(check.at("check"), "accuracy-rises");
    EXPECT_FALSE(check.at("raised").get<bool>() && check.at("check") != "still-rising") << check;
  }
  // One class: its own images are left out.
  const json one = attack({"--attack", "bim10", "--targets", "1", "--no-checks"});
  EXPECT_EQ(one.at("targets").at("left_out").get<std::int64_t>() +
                one["evaluations"][0].at("total").get<std::int64_t>(),
            total);
  EXPECT_GT(one.at("targets").at("left_out").get<std::int64_t>(), 0);
  std::string lines;
  for (const json& label : next["verdicts"][0].at("labels"))
    lines += label.get<int>() == 1 ? "0\n" : "1\n";
  write_file_atomic(path("targets.txt"), lines);
  const json file = attack({"--attack", "clean,bim10", "--targets", path("targets.txt").string()});
  EXPECT_EQ(file.at("verdicts"), next.at("verdicts"));
  const Outcome table =
      run_program(call({"--attack", "bim10", "--targets", "next", "--no-checks"}));
  EXPECT_NE(table.out.find("target reached %"), std::string::npos) << table.out;
}

TEST_F(Attack, TargetsThatAreNone) {
  const auto refuse = [](const std::string& targets, const std::vector<std::string>& parts) {
    expect_refused(call({"--targets", targets}), 2, parts);
  };
  refuse("2", {"--targets 2", "class 2", "outputs 0 to 1"});
  refuse("-1", {"--targets", "\"next\"", "name of a file", "\"-1\""});
  refuse("cat", {"--targets", "\"next\"", "\"cat\""});
  expect_refused(call({"--labels", "1", "--targets", "1"}), 2, {"every image has that label"});
  std::string own, other;
  for (const json& label : evaluated_->at("verdicts")[0].at("labels")) {
    own += label.dump() + "\n";
    other += label == 1 ? "0\n" : "7\n";
  }
  const std::string file = path("bad.txt").string();
  write_file_atomic(file, own);
  refuse(file, {"bad.txt", "image 0", "own label", "another class"});
  write_file_atomic(file, other);
  refuse(file, {"bad.txt", "class 7", "outputs 0 to 1"});
  write_file_atomic(file, "1\n0\n");
  refuse(file, {"bad.txt has 2 targets for"});
  write_file_atomic(file, "one\n");
  refuse(file, {"line 1", "bad.txt", "target", "\"one\""});
  expect_refused(call({"--targets", "next", "--attack", "clean,autoattack"}), 2,
                 {"\"autoattack\" cannot be sent", "use fgsm", "cw"});
}

TEST_F(Attack, CurvesAndPictures) {
  const fs::path png = path("grid.png");
  const json steps = attack({"--attack", "bim", "--curve", "steps", "--limit", "6", "--grid",
                             png.string(), "--save", path("record.json").string()});
  ASSERT_EQ(steps.at("curve").at("points").size(), 7u);
  EXPECT_EQ(steps["curve"].at("over"), "steps");
  EXPECT_EQ(steps["curve"]["points"][2].at("x"), 5);
  EXPECT_EQ(read_json(path("record.json")), steps);
  EXPECT_EQ(read_file(png).substr(1, 3), "PNG");
  const json sizes = attack({"--attack", "pgd4", "--curve", "step-size", "--limit", "6"});
  ASSERT_EQ(sizes.at("curve").at("points").size(), 6u);
  EXPECT_DOUBLE_EQ(sizes["evaluations"][4].at("step_pixels").get<double>(), 8.0 / 255);
  const json eps = attack({"--attack", "bim5", "--curve", "eps", "--limit", "6"});
  ASSERT_EQ(eps.at("threat_models").size(), 5u);
  EXPECT_EQ(eps["curve"]["points"][0].at("x"), eps["threat_models"][0].at("eps_pixels"));
  expect_refused(call({"--curve", "size"}), 2, {"--curve", "\"size\""});
  expect_refused(call({"--curve", "step-size"}), 2, {"step-size", "apgd-ce"});
  expect_refused(call({"--attack", "fgsm", "--curve", "steps"}), 2, {"\"fgsm\"", "steps"});
}

}  // namespace
}  // namespace cmat::test
