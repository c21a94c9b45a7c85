// The bank's fast code against reference_bank.h over random lives of a network: tasks, stages,
// steps, prunings, averages. Float64 runs side by side; in float32, where a rounding may turn a
// pick, the reference is set to the bank's state before each operation.
#include "cmat/nn/bank.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <map>

#include "bank_helpers.h"

namespace cmat::test {
namespace {

struct Variant {
  at::ScalarType dtype;
  Layout layout, gradient_layout;
};

/// One bank and its reference living through the same random events.
class Life {
 public:
  Life(const Variant& variant, std::uint64_t seed)
      : variant_(variant),
        random_({.seed = seed}),
        bank_(live_tensors(small_shapes(), variant.dtype, variant.layout, random_), {}),
        reference_(reference_of(bank_)) {}

  void live(int tasks) {
    for (int task = 1; task <= tasks && !testing::Test::HasFatalFailure(); ++task) {
      begin_task(task, random_.below(3) > 0);
      for (std::uint64_t stage = 0; stage <= random_.below(3); ++stage) run_stage();
      commit();
    }
  }

 private:
  bool single() const { return variant_.dtype == at::kFloat; }
  void synchronize() {
    if (single()) reference_ = reference_of(bank_);
  }

  void begin_task(int task, bool picks) {
    synchronize();
    std::vector<Numbers> before;
    for (const auto& layer : bank_.layers()) before.push_back(logical(layer.state.values));
    bank_.begin_task(task, picks, {.seed = 5, .task = static_cast<std::uint64_t>(task)});
    reference_.begin_task(task, picks);
    for (std::size_t n = 0; n < before.size(); ++n) {
      ReferenceLayer& l = reference_.layers[n];
      const Numbers now = logical(bank_.layers()[n].state.values);
      const std::size_t filter = l.size() / static_cast<std::size_t>(l.filters);
      for (std::size_t i = 0; i < l.size(); ++i) {
        const bool fresh =
            l.owners[i] == task && reference_.dead(l, static_cast<std::int64_t>(i / filter));
        ASSERT_EQ(now[i] != before[n][i], fresh) << "layer " << n << " entry " << i;
      }
      l.values = now;
    }
    reference_.compose();
    check("begin_task");
  }

  void run_stage() {
    synchronize();
    average_ = random_.below(2) == 0;
    bank_.begin_stage(average_);
    reference_.begin_stage(average_);
    if (random_.below(4) == 0) {
      bank_.reset_picks();
      reference_.reset_picks();
    }
    nn::UpdateOptions o;
    o.sgd = {.lr = random_.uniform(0.001, 0.1),
             .momentum = random_.uniform(0, 0.95),
             .weight_decay = random_.below(2) == 0 ? 0 : 5e-4,
             .nesterov = random_.below(2) == 0};
    o.adam.lr = random_.uniform(1e-4, 5e-3);
    o.train_picks = random_.below(3) > 0;
    o.average_decay = average_ ? random_.uniform(0, 0.99) : 0;
    double ratio = 0;
    for (std::uint64_t step = 0; step < 3 + random_.below(5); ++step) {
      if (random_.below(3) == 0) {
        synchronize();
        ratio += (1 - ratio) * random_.uniform(0, 0.6);
        ASSERT_EQ(bank_.prune(ratio), reference_.prune(ratio));
        check("prune");
      }
      synchronize();
      const auto gradients = random_gradients(bank_, variant_.gradient_layout, random_);
      std::vector<Numbers> plain;
      for (const at::Tensor& g : gradients) plain.push_back(logical(g));
      bank_.update(gradients, o);
      reference_.update(plain, o);
      check("update");
      if (testing::Test::HasFatalFailure()) return;
    }
    end_stage();
  }

  void end_stage() {
    if (!average_) return;
    const std::vector<std::string> before = effective_bits(bank_);
    bank_.compose_active(/*averaged=*/true);
    ReferenceBank shown = single() ? reference_of(bank_) : reference_;
    shown.adopt_average();
    for (std::size_t n = 0; n < shown.layers.size(); ++n) {
      expect_near(logical(bank_.layers()[n].state.effective), shown.layers[n].effective,
                  tolerance(), "averaged effective");
    }
    bank_.compose_active(false);
    ASSERT_EQ(effective_bits(bank_), before);
    if (random_.below(2) == 0) return;
    synchronize();
    bank_.adopt_average();
    reference_.adopt_average();
    check("adopt_average");
  }

  void commit() {
    const int task = bank_.active_task();
    picks_[task] = bank_.packed_picks();
    committed_[task] = effective_bits(bank_);
    for (const auto& layer : bank_.layers()) frozen_[task].push_back(frozen(layer, task));
    bank_.commit();
  }

  static std::string frozen(const nn::WeightBank::Layer& layer, int task) {
    const nn::BankTensors& s = layer.state;
    return bits_of(at::where(s.owners.eq(task), s.values, at::zeros_like(s.values))) +
           bits_of(s.owners.eq(task));
  }

  double tolerance() const { return single() ? 2e-6 : 1e-12; }

  /// Every number of the state, and what must hold whatever the numbers are.
  void check(const std::string& after) {
    SCOPED_TRACE("after " + after + " in task " + std::to_string(bank_.active_task()));
    const ReferenceBank actual = reference_of(bank_);
    ASSERT_EQ(actual.adam_step, reference_.adam_step);
    for (std::size_t n = 0; n < actual.layers.size(); ++n)
      check(actual.layers[n], reference_.layers[n]);
    for (const auto& [task, layers] : frozen_) {
      for (std::size_t n = 0; n < layers.size(); ++n) {
        ASSERT_EQ(frozen(bank_.layers()[n], task), layers[n]) << "frozen weights of task " << task;
      }
    }
    if (after == "update" && random_.below(4) > 0) return;
    for (const auto& [task, bits] : committed_) {
      bank_.compose_committed(task, picks_[task]);
      ASSERT_EQ(effective_bits(bank_), bits) << "effective weights of task " << task;
    }
    bank_.compose_active(false);
  }

  void check(const ReferenceLayer& actual, const ReferenceLayer& expected) {
    ASSERT_EQ(actual.owners, expected.owners);
    expect_near(actual.values, expected.values, tolerance(), "values");
    expect_near(actual.momentum, expected.momentum, tolerance() * 10, "momentum");
    if (bank_.has_picks()) {
      expect_near(actual.scores, expected.scores, tolerance(), "scores");
      expect_near(actual.score_m, expected.score_m, tolerance(), "score_m");
      expect_near(actual.score_v, expected.score_v, tolerance(), "score_v");
    }
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const bool near = bank_.has_picks() && std::fabs(actual.scores[i] - 0.005) < 1e-7;
      if (!(single() && near)) {
        ASSERT_NEAR(actual.effective[i], expected.effective[i], tolerance());
      }
      if (average_ && actual.owners[i] == bank_.active_task() && !actual.average_values.empty()) {
        ASSERT_TRUE(actual.average_values[i] == 0 || reference_.averages);
      }
      if (actual.owners[i] != 0) continue;
      ASSERT_EQ(actual.values[i], 0);
      ASSERT_EQ(actual.momentum[i], 0);
      ASSERT_EQ(actual.effective[i], 0);
      ASSERT_EQ(actual.average_values[i], 0);
    }
  }

  Variant variant_;
  Random random_;
  nn::WeightBank bank_;
  ReferenceBank reference_;
  bool average_ = false;
  std::map<int, std::map<std::string, TensorBytes>> picks_;
  std::map<int, std::vector<std::string>> committed_, frozen_;
};

void live_many(const Variant& variant, std::uint64_t lives) {
  for (std::uint64_t seed = 1; seed <= lives; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Life(variant, seed).live(5);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Bank, LivesLikeTheReference) {
  live_many({at::kDouble, Layout::contiguous, Layout::contiguous}, 20);
}
TEST(Bank, ChannelsLastLivesLikeTheReference) {
  live_many({at::kDouble, Layout::channels_last, Layout::channels_last}, 10);
}
TEST(Bank, GradientsInAnotherMemoryFormat) {
  live_many({at::kDouble, Layout::channels_last, Layout::contiguous}, 10);
  live_many({at::kDouble, Layout::contiguous, Layout::channels_last}, 10);
  live_many({at::kDouble, Layout::transposed, Layout::channels_last}, 5);
  live_many({at::kDouble, Layout::contiguous, Layout::transposed}, 5);
}
TEST(Bank, SinglePrecisionLivesLikeTheReference) {
  live_many({at::kFloat, Layout::contiguous, Layout::contiguous}, 10);
  live_many({at::kFloat, Layout::channels_last, Layout::contiguous}, 10);
}

/// A bank in the middle of its third task, with picks and averages.
nn::WeightBank third_task(const std::vector<std::vector<std::int64_t>>& shapes,
                          at::ScalarType dtype, Layout layout) {
  Random random({.seed = 9});
  nn::WeightBank bank(live_tensors(shapes, dtype, layout, random), {});
  for (int task = 1; task <= 3; ++task) {
    bank.begin_task(task, true, {.seed = 2, .task = static_cast<std::uint64_t>(task)});
    bank.begin_stage(true);
    bank.update(random_gradients(bank, layout, random), averaging(0.5));
    if (task < 3) {
      bank.prune(0.6);
      bank.commit();
    }
  }
  return bank;
}

std::string everything(const nn::WeightBank& bank) {
  std::string all;
  for (const auto& layer : bank.layers()) {
    const nn::BankTensors& s = layer.state;
    for (const at::Tensor& t : {s.values, s.owners, s.momentum, s.effective, s.scores, s.score_m,
                                s.score_v, s.average_values, s.average_scores}) {
      all += bits_of(t);
    }
  }
  return all;
}

TEST(Bank, ThreadsChangeNothing) {
  const int before = at::get_num_threads();
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    std::vector<std::string> results;
    for (int threads : {1, 2}) {
      at::set_num_threads(threads);
      nn::WeightBank bank = third_task({{96, 64, 3, 3}, {300, 700}}, dtype, Layout::channels_last);
      Random random({.seed = 4});
      for (int step = 0; step < 3; ++step) {
        bank.update(random_gradients(bank, Layout::contiguous, random), averaging(0.9));
      }
      bank.prune(0.3);
      results.push_back(everything(bank));
    }
    EXPECT_EQ(results[0], results[1]);
  }
  at::set_num_threads(before);
}

TEST(Bank, TensorOperationsEqualTheFusedLoop) {
  for (bool nesterov : {true, false}) {
    for (bool train_picks : {true, false}) {
      nn::WeightBank fused = third_task(small_shapes(), at::kDouble, Layout::channels_last);
      nn::WeightBank plain = third_task(small_shapes(), at::kDouble, Layout::channels_last);
      Random random({.seed = 6});
      nn::UpdateOptions o = averaging(0.8);
      o.task = 3;
      o.train_picks = train_picks;
      o.sgd.nesterov = nesterov;
      for (int step = 1; step <= 4; ++step) {
        const auto gradients = random_gradients(fused, Layout::contiguous, random);
        o.adam_step = step;
        for (std::size_t n = 0; n < gradients.size(); ++n) {
          nn::update(fused.layers()[n].state, gradients[n], o);
          nn::update_by_tensor_operations(plain.layers()[n].state, gradients[n], o);
        }
      }
      const ReferenceBank a = reference_of(fused), b = reference_of(plain);
      for (std::size_t n = 0; n < a.layers.size(); ++n) {
        const ReferenceLayer &x = a.layers[n], &y = b.layers[n];
        EXPECT_EQ(x.owners, y.owners);
        expect_near(x.values, y.values, 1e-12, "values");
        expect_near(x.momentum, y.momentum, 1e-12, "momentum");
        expect_near(x.effective, y.effective, 1e-12, "effective");
        expect_near(x.scores, y.scores, 1e-12, "scores");
        expect_near(x.score_m, y.score_m, 1e-12, "score_m");
        expect_near(x.score_v, y.score_v, 1e-12, "score_v");
        expect_near(x.average_values, y.average_values, 1e-12, "average_values");
        expect_near(x.average_scores, y.average_scores, 1e-12, "average_scores");
      }
    }
  }
}

}  // namespace
}  // namespace cmat::test
