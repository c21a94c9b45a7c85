// What a task trains by itself, against plain loops in float64.
#include "cmat/train/part_optimizer.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cmat/core/random.h"

namespace cmat::train {
namespace {

using Numbers = std::vector<double>;

Numbers numbers_of(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(at::kDouble).contiguous();
  return {plain.const_data_ptr<double>(), plain.const_data_ptr<double>() + plain.numel()};
}

at::Tensor random_tensor(at::IntArrayRef shape, Random& random) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions(at::kDouble));
  for (std::int64_t i = 0; i < tensor.numel(); ++i) tensor.data_ptr<double>()[i] = random.normal();
  return tensor;
}

/// A head, a bias and the statistics of a norm layer.
struct Part {
  explicit Part(std::uint64_t seed) : random({.seed = seed}) {
    parameters = {{"fc.weight", random_tensor({3, 4}, random)},
                  {"fc.bias", random_tensor({3}, random)},
                  {"conv.weight",
                   random_tensor({2, 3, 3, 3}, random).contiguous(at::MemoryFormat::ChannelsLast)}};
    buffers = {{"bn.running_mean", random_tensor({5}, random)},
               {"bn.num_batches_tracked", at::scalar_tensor(7, at::kLong)}};
  }
  std::vector<at::Tensor> gradients() {
    std::vector<at::Tensor> result;
    for (const auto& p : parameters) result.push_back(random_tensor(p.tensor.sizes(), random));
    return result;
  }
  std::vector<Numbers> state() const {
    std::vector<Numbers> all;
    for (const auto* group : {&parameters, &buffers}) {
      for (const auto& t : *group) all.push_back(numbers_of(t.tensor));
    }
    return all;
  }
  /// As a forward pass in train mode does.
  void move_buffers() {
    buffers[0].tensor.add_(0.25);
    buffers[1].tensor.add_(1);
  }

  Random random;
  std::vector<nn::NamedTensor> parameters, buffers;
};

void expect_near(const std::vector<Numbers>& actual, const std::vector<Numbers>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t n = 0; n < actual.size(); ++n) {
    ASSERT_EQ(actual[n].size(), expected[n].size());
    for (std::size_t i = 0; i < actual[n].size(); ++i) {
      ASSERT_NEAR(actual[n][i], expected[n][i], 1e-12) << "tensor " << n << " entry " << i;
    }
  }
}

class Sgd : public testing::TestWithParam<bool> {};

TEST_P(Sgd, EqualsPlainLoops) {
  Part part(1);
  PartOptimizer optimizer(part.parameters, part.buffers);
  optimizer.begin_stage(true);
  const nn::SgdOptions sgd{
      .lr = 0.05, .momentum = 0.8, .weight_decay = 0.01, .nesterov = GetParam()};
  std::vector<Numbers> state = part.state(), average = state;
  std::vector<Numbers> momentum;
  for (const Numbers& values : state) momentum.emplace_back(values.size(), 0.0);
  for (int step = 0; step < 4; ++step) {
    const auto gradients = part.gradients();
    const double decay = 0.2 * step;
    optimizer.update(gradients, sgd);
    part.move_buffers();
    optimizer.average(decay);
    for (std::size_t n = 0; n < gradients.size(); ++n) {
      const Numbers gradient = numbers_of(gradients[n]);
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        double g = gradient[i];
        if (n != 1) g += 0.01 * state[n][i];  // a bias is not decayed
        momentum[n][i] = 0.8 * momentum[n][i] + g;
        state[n][i] -= 0.05 * (sgd.nesterov ? g + 0.8 * momentum[n][i] : momentum[n][i]);
      }
    }
    for (double& mean : state[3]) mean += 0.25;
    state[4][0] += 1;
    for (std::size_t n = 0; n < state.size(); ++n) {
      for (std::size_t i = 0; i < state[n].size(); ++i) {
        average[n][i] = n == 4 ? state[n][i] : decay * average[n][i] + (1 - decay) * state[n][i];
      }
    }
    expect_near(part.state(), state);
    optimizer.swap_average();
    expect_near(part.state(), average);
    optimizer.swap_average();
    expect_near(part.state(), state);
  }
  optimizer.adopt_average();
  expect_near(part.state(), average);
  optimizer.swap_average();  // none left
  expect_near(part.state(), average);
}

INSTANTIATE_TEST_SUITE_P(PartOptimizer, Sgd, testing::Bool());

TEST(PartOptimizer, SwappingTwiceIsNothing) {
  Part part(2);
  PartOptimizer optimizer(part.parameters, part.buffers);
  optimizer.begin_stage(true);
  optimizer.update(part.gradients(), {});
  optimizer.average(0.3);
  const auto before = part.state();
  optimizer.swap_average();
  EXPECT_NE(part.state(), before);
  optimizer.swap_average();
  EXPECT_EQ(part.state(), before);
}

TEST(PartOptimizer, WithoutAveragesNothingIsSwapped) {
  Part part(2);
  PartOptimizer optimizer(part.parameters, part.buffers);
  optimizer.begin_stage(false);
  optimizer.update(part.gradients(), {});
  optimizer.average(0.3);
  const auto before = part.state();
  optimizer.swap_average();
  EXPECT_EQ(part.state(), before);
  optimizer.adopt_average();
  EXPECT_EQ(part.state(), before);
}

TEST(PartOptimizer, BeginningAStageForgets) {
  Part a(3), b(3);
  PartOptimizer used(a.parameters, a.buffers), fresh(b.parameters, b.buffers);
  used.begin_stage(true);
  used.update(a.gradients(), {.lr = 0});  // momentum, but no step
  b.gradients();
  for (PartOptimizer* o : {&used, &fresh}) o->begin_stage(true);
  used.update(a.gradients(), {});
  fresh.update(b.gradients(), {});
  EXPECT_EQ(a.state(), b.state());
}

class Saved : public testing::TestWithParam<bool> {};

TEST_P(Saved, ContinuesBitForBit) {
  Part a(4);
  PartOptimizer first(a.parameters, a.buffers);
  first.begin_stage(GetParam());
  first.update(a.gradients(), {});
  first.average(0.5);
  TensorFile file;
  first.save(file, "o/");
  Part b(4);
  b.gradients();
  for (std::size_t i = 0; i < a.parameters.size(); ++i)
    b.parameters[i].tensor.copy_(a.parameters[i].tensor);
  PartOptimizer second(b.parameters, b.buffers);
  second.load(file, "o/");
  first.update(a.gradients(), {});
  second.update(b.gradients(), {});
  first.average(0.5);
  second.average(0.5);
  EXPECT_EQ(a.state(), b.state());
  first.swap_average();
  second.swap_average();
  EXPECT_EQ(a.state(), b.state());
}

INSTANTIATE_TEST_SUITE_P(PartOptimizer, Saved, testing::Bool());

}  // namespace
}  // namespace cmat::train
