// tools/convert_pth.py makes what CMAT opens.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "app/python.h"
#include "app/tiny_run.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

std::string tools() { return environment("CMAT_SOURCE_DIR") + "/tools"; }

template <typename T>
std::vector<T> values(const TensorBytes& tensor) {
  std::vector<T> result(tensor.bytes.size() / sizeof(T));
  std::memcpy(result.data(), tensor.bytes.data(), tensor.bytes.size());
  return result;
}

/// Runs convert_pth.py on what `expression` of torch says.
Outcome convert(const TemporaryFolder& folder, const std::string& expression) {
  const fs::path script = folder / "save.py", pth = folder / "in.pth";
  std::ofstream(script) << "import torch\ntorch.save(" << expression << ", \"" << pth.string()
                        << "\")\n";
  const Outcome saved = run_python({script.string()});
  if (saved.status != 0) return saved;
  return run_python({tools() + "/convert_pth.py", pth.string(), (folder / "out.st").string()});
}

TEST(PythonTools, AStateDictBecomesATensorFile) {
  if (!python_has_torch()) GTEST_SKIP() << "no Python with torch at " << python();
  TemporaryFolder folder;
  const Outcome outcome =
      convert(folder,
              "{\"epoch\": 3, \"state_dict\": {"
              "\"module.conv1.weight\": torch.arange(6.).reshape(2, 3).t(), "
              "\"module.bn1.bias\": torch.tensor([0.5, -2.0], dtype=torch.float16), "
              "\"module.bn1.num_batches_tracked\": torch.tensor(7)}}");
  ASSERT_EQ(outcome.status, 0) << outcome.out;
  const TensorFile file = read_tensor_file(folder / "out.st", /*require_digest=*/false);
  ASSERT_EQ(file.tensors.size(), 3U);
  const TensorBytes& weight = file.tensors.at("conv1.weight");
  EXPECT_EQ(weight.shape, (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(values<float>(weight), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  const TensorBytes& bias = file.tensors.at("bn1.bias");
  EXPECT_EQ(bias.dtype, Dtype::f32);
  EXPECT_EQ(values<float>(bias), (std::vector<float>{0.5, -2}));
  const TensorBytes& counter = file.tensors.at("bn1.num_batches_tracked");
  EXPECT_EQ(counter.dtype, Dtype::i64);
  EXPECT_TRUE(counter.shape.empty());
  EXPECT_EQ(values<std::int64_t>(counter), std::vector<std::int64_t>{7});
}

TEST(PythonTools, WhatIsNoStateDictIsRefused) {
  if (!python_has_torch()) GTEST_SKIP() << "no Python with torch at " << python();
  TemporaryFolder folder;
  const Outcome outcome = convert(folder, "{\"weights\": [1, 2]}");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.out.find("holds no state_dict"), std::string::npos) << outcome.out;
  EXPECT_FALSE(fs::exists(folder / "out.st"));
}

}  // namespace
}  // namespace cmat::test
