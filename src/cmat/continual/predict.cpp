// cmat predict: what a finished task's network says of pictures. Needs the run folder alone, not
// the images that it learned from.
#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cmat/continual/find_task.h"
#include "cmat/continual/method.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"
#include "cmat/data/folder_reader.h"
#include "cmat/data/resize.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The pictures that the arguments mean: files as they are, folders as all pictures below them.
std::vector<std::string> list_pictures(const std::vector<std::string>& arguments) {
  std::vector<std::string> files;
  for (const std::string& argument : arguments) {
    if (argument == "-" || !fs::is_directory(argument)) {
      files.push_back(argument);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(argument)) {
      if (entry.is_regular_file() && data::is_picture_name(entry.path().filename().string())) {
        found.push_back(entry.path().string());
      }
    }
    if (found.empty()) usage_error("there is no picture in the folder ", argument);
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  if (std::count(files.begin(), files.end(), "-") > 1) {
    usage_error("- means one picture from standard input, so it can be given once");
  }
  return files;
}

std::string bytes_of(const std::string& file) {
  if (file != "-") return read_file(file);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

/// How a picture becomes what the task's network takes, as results.json tells.
struct Input {
  std::int64_t channels = 0, height = 0, width = 0;
  std::string resize;
};

/// Appends the picture's pixels [channels, height, width]. Throws a failure that says what is wrong
/// with it.
void append_picture(const std::string& bytes, const Input& input,
                    std::vector<std::uint8_t>& pixels) {
  const data::Picture picture = data::decode_picture(
      std::as_bytes(std::span(bytes.data(), bytes.size())),
      {.grey = input.channels == 1, .min_side = std::max(input.height, input.width)});
  const data::Picture fitted = data::fit(picture, input.height, input.width, input.resize);
  pixels.insert(pixels.end(), fitted.pixels.begin(), fitted.pixels.end());
}

json answer(const std::string& file, const at::Tensor& probabilities,
            const std::vector<std::string>& classes) {
  const auto best = static_cast<std::size_t>(probabilities.argmax().item<std::int64_t>());
  json all = json::array();
  for (std::size_t c = 0; c < classes.size(); ++c) {
    all.push_back({{"label", classes[c]},
                   {"probability", probabilities[static_cast<std::int64_t>(c)].item<double>()}});
  }
  std::stable_sort(all.begin(), all.end(), [](const json& a, const json& b) {
    return a.at("probability").get<double>() > b.at("probability").get<double>();
  });
  return {{"file", file}, {"label", classes[best]}, {"probabilities", all}};
}

/// Answers for up to a batch of pictures; `files` and `images` run in parallel.
void classify(OpenedModel& run, const data::ImageSet& images, const std::vector<std::string>& files,
              const std::vector<std::string>& classes, json& answers) {
  if (files.empty()) return;
  data::Task task;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    task.classes.push_back(static_cast<std::int64_t>(c));
  }
  std::vector<std::int64_t> indices(files.size());
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<std::int64_t>(i);
  const at::Tensor logits =
      eval::clean_logits(run.model->network(), images, task, indices,
                         {run.settings.evaluation.batch, run.model->options().device});
  const at::Tensor probabilities = at::softmax(logits.to(at::kDouble), 1);
  for (std::size_t i = 0; i < files.size(); ++i) {
    answers.push_back(answer(files[i], probabilities[static_cast<std::int64_t>(i)], classes));
  }
}

}  // namespace

json predict(const fs::path& folder, const PredictOptions& options) {
  const std::vector<std::string> files = list_pictures(options.pictures);
  OpenedModel run = open_model(folder, options.machine);
  std::vector<std::string> names;
  for (const json& task : run.results.at("tasks")) names.push_back(task.at("name"));
  const std::int64_t number = find_task(names, options.task);
  const json& task = run.results.at("tasks")[static_cast<std::size_t>(number - 1)];
  const auto classes = task.at("classes").get<std::vector<std::string>>();
  const auto shape = task.at("image").get<std::vector<std::int64_t>>();
  const Input input{shape.at(0), shape.at(1), shape.at(2), task.at("resize")};
  run.model->activate(number);

  json answers = json::array(), failures = json::array();
  Progress progress("pictures", static_cast<double>(files.size()));
  const auto batch = static_cast<std::size_t>(run.settings.evaluation.batch);
  data::ImageSet images{input.channels, input.height, input.width, {}, {}};
  std::vector<std::string> pending;
  for (std::size_t i = 0; i < files.size(); ++i) {
    try {
      append_picture(bytes_of(files[i]), input, images.pixels);
      images.labels.push_back(0);
      pending.push_back(files[i]);
    } catch (const Error& e) {
      failures.push_back({{"file", files[i]}, {"reason", e.what()}});
    }
    if (pending.size() == batch || i + 1 == files.size()) {
      classify(run, images, pending, classes, answers);
      pending.clear();
      images.pixels.clear();
      images.labels.clear();
      if (files.size() > batch)
        progress.update(static_cast<double>(i + 1), names[static_cast<std::size_t>(number - 1)]);
    }
  }
  return {{"task", number},
          {"name", names[static_cast<std::size_t>(number - 1)]},
          {"classes", classes},
          {"pictures", answers},
          {"failures", failures}};
}

}  // namespace cmat::continual
