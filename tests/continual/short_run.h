// The runs that tests train: configs/tiny.toml with few images, in one thread.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmat/continual/run.h"
#include "cmat/core/files.h"
#include "export_check.h"

namespace cmat::test {

using Overrides = std::vector<std::string>;

/// Three tasks of a few steps. `overrides` come after `common`.
inline continual::TrainOptions short_run(const std::filesystem::path& out, const Overrides& common,
                                         const Overrides& overrides) {
  continual::TrainOptions options;
  options.config = source_folder() / "configs/tiny.toml";
  options.out = out;
  options.overrides = {"data.synthetic.train_per_class=20", "data.synthetic.test_per_class=10"};
  for (const Overrides& more : {common, overrides})
    options.overrides.insert(options.overrides.end(), more.begin(), more.end());
  options.machine.threads = 1;
  return options;
}

/// results.json of the run, which is trained to its end.
inline nlohmann::json trained(const continual::TrainOptions& options) {
  EXPECT_EQ(continual::train(options), continual::RunStatus::finished);
  return nlohmann::json::parse(read_file(options.out / "results.json"));
}

}  // namespace cmat::test
