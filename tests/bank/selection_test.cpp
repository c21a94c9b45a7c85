// The fast loops of the bank against slow ones that say what is meant: the update entry by entry,
// selection by sorting, bits by a list.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bank_helpers.h"
#include "cmat/nn/pruning.h"
#include "cmat/nn/tensors.h"
#include "core/expect_error.h"

namespace cmat::test {
namespace {

constexpr int kTask = 3;

/// Owners 0 to 4: free, older, the task's own, and a later task's.
at::Tensor random_owners(at::IntArrayRef shape, Random& random) {
  at::Tensor owners = at::empty(shape, at::TensorOptions(at::kByte));
  for (std::int64_t i = 0; i < owners.numel(); ++i) {
    owners.data_ptr<std::uint8_t>()[i] = static_cast<std::uint8_t>(random.below(5));
  }
  return owners;
}

/// Numbers with everything that a selection may trip over: ties, both zeros, infinities, NaN and
/// numbers next to zero.
template <typename T>
at::Tensor awkward_numbers(at::IntArrayRef shape, Random& random) {
  using Limits = std::numeric_limits<T>;
  const std::vector<T> special = {T(0),  -T(0),  Limits::denorm_min(), Limits::min(),      T(0.5),
                                  T(-2), T(0.5), Limits::infinity(),   Limits::quiet_NaN()};
  const auto dtype = sizeof(T) == 8 ? at::kDouble : at::kFloat;
  at::Tensor values = random_tensor(shape, dtype, random);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    if (random.below(3) == 0) values.data_ptr<T>()[i] = special[random.below(special.size())];
  }
  return values;
}

/// The magnitudes of what is free or the task's, in order; NaN counts as infinite.
template <typename T>
std::vector<T> sorted_candidates(const at::Tensor& values, const at::Tensor& owners) {
  std::vector<T> magnitudes;
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const int owner = owners.const_data_ptr<std::uint8_t>()[i];
    const T value = std::abs(values.const_data_ptr<T>()[i]);
    if (owner != 0 && owner != kTask) continue;
    magnitudes.push_back(std::isnan(value) ? std::numeric_limits<T>::infinity() : value);
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  return magnitudes;
}

template <typename T>
void check_every_rank(at::IntArrayRef shape, std::uint64_t seed) {
  Random random({.seed = seed});
  const at::Tensor values = awkward_numbers<T>(shape, random);
  const at::Tensor owners = random_owners(shape, random);
  const std::vector<T> sorted = sorted_candidates<T>(values, owners);
  ASSERT_FALSE(sorted.empty());
  for (std::size_t k = 1; k <= sorted.size(); ++k) {
    EXPECT_EQ(nn::kth_magnitude(values, owners, kTask, static_cast<std::int64_t>(k)), sorted[k - 1])
        << k << " of " << sorted.size();
  }
}

TEST(BankSelection, EveryRankIsThatOfSorting) {
  check_every_rank<float>({7, 31}, 1);
  check_every_rank<double>({7, 31}, 2);
}

TEST(BankSelection, AcrossThreadsAndChunks) {
  Random random({.seed = 3});
  const at::Tensor values = random_tensor({3, 70001}, at::kFloat, random);
  const at::Tensor owners = random_owners({3, 70001}, random);
  const std::vector<float> sorted = sorted_candidates<float>(values, owners);
  for (std::size_t k : {std::size_t{1}, sorted.size() / 2, sorted.size()}) {
    EXPECT_EQ(nn::kth_magnitude(values, owners, kTask, static_cast<std::int64_t>(k)),
              sorted[k - 1]);
  }
}

TEST(BankSelection, FreesWhatIsSmallAndTouchesNothingElse) {
  for (bool average : {false, true}) {
    Random random({.seed = 4});
    const std::vector<std::int64_t> shape = {5, 77};  // no multiple of a block
    nn::BankTensors s;
    s.values = awkward_numbers<float>(shape, random);
    s.owners = random_owners(shape, random);
    s.momentum = awkward_numbers<float>(shape, random);
    s.effective = awkward_numbers<float>(shape, random);
    if (average) s.average_values = awkward_numbers<float>(shape, random);
    const at::Tensor drop = s.owners.eq(kTask).logical_and(s.values.abs().le(0.5));
    const auto expected = [&](const at::Tensor& t) {
      return t.defined() ? bits_of(t.masked_fill(drop, 0)) : "undefined";
    };
    const std::vector<std::string> wanted = {expected(s.values), expected(s.owners),
                                             expected(s.momentum), expected(s.effective),
                                             expected(s.average_values)};
    EXPECT_EQ(nn::free_small(s, kTask, 0.5), drop.sum().item<std::int64_t>());
    EXPECT_GT(drop.sum().item<int>(), 0);
    EXPECT_EQ((std::vector<std::string>{bits_of(s.values), bits_of(s.owners), bits_of(s.momentum),
                                        bits_of(s.effective), bits_of(s.average_values)}),
              wanted);
  }
}

TEST(BankSelection, ChosenBitsAreThoseOfAList) {
  for (std::int64_t count : {0, 1, 7, 8, 9, 64, 65, 1000}) {
    Random random({.seed = static_cast<std::uint64_t>(count)});
    at::Tensor bits = at::zeros({count}, at::kBool), chosen = at::zeros({count}, at::kBool);
    std::vector<bool> list;
    for (std::int64_t i = 0; i < count; ++i) {
      bits.data_ptr<bool>()[i] = random.below(2) == 1;
      chosen.data_ptr<bool>()[i] = random.below(3) > 0;
      if (chosen.data_ptr<bool>()[i]) list.push_back(bits.data_ptr<bool>()[i]);
    }
    const TensorBytes packed = nn::pack_chosen_bits(bits, chosen);
    EXPECT_EQ(packed.bytes, nn::pack_bits(list).bytes) << count;
    EXPECT_EQ(packed.shape, nn::pack_bits(list).shape) << count;
    EXPECT_TRUE(nn::unpack_chosen_bits(packed, chosen, "w").equal(bits.logical_and(chosen)));
    TensorBytes longer = packed;
    longer.bytes += 'x';
    expect_failure({"w"}, [&] { nn::unpack_chosen_bits(longer, chosen, "w"); });
  }
}

/// The update in float32 as docs/architecture.md tells it, one entry after the other.
void update_one_by_one(nn::BankTensors& s, const at::Tensor& gradient, const nn::UpdateOptions& o) {
  const auto t = static_cast<double>(o.adam_step);
  const auto lr = float(o.sgd.lr), momentum = float(o.sgd.momentum),
             decay = float(o.sgd.weight_decay);
  const auto pick_step = float(o.adam.lr / (1 - std::pow(o.adam.beta1, t)));
  const auto root = float(std::sqrt(1 - std::pow(o.adam.beta2, t)));
  const auto beta1 = float(o.adam.beta1), beta2 = float(o.adam.beta2), eps = float(o.adam.eps);
  const auto rate = float(1 - o.average_decay), threshold = float(o.pick_threshold);
  const auto at = [](const at::Tensor& tensor, std::int64_t i) -> float& {
    return tensor.data_ptr<float>()[i];
  };
  for (std::int64_t i = 0; i < s.values.numel(); ++i) {
    const int owner = s.owners.data_ptr<std::uint8_t>()[i];
    float& w = at(s.values, i);
    if (owner == o.task) {
      const float g = at(gradient, i) + decay * w;
      const float v = momentum * at(s.momentum, i) + g;
      at(s.momentum, i) = v;
      w -= lr * (o.sgd.nesterov ? g + momentum * v : v);
      at(s.effective, i) = w;
      if (!s.average_values.defined()) continue;
      float& average = at(s.average_values, i);
      average += rate * (w - average);
    } else if (owner != 0 && owner < o.task && s.scores.defined()) {
      float& score = at(s.scores, i);
      if (o.train_picks) {
        const float g = at(gradient, i) * w;
        float& m = at(s.score_m, i);
        float& v = at(s.score_v, i);
        m = beta1 * m + (1 - beta1) * g;
        v = beta2 * v + (1 - beta2) * g * g;
        score -= pick_step * m / (std::sqrt(v) / root + eps);
      }
      at(s.effective, i) = score > threshold ? w : 0;
      if (!s.average_scores.defined()) continue;
      float& average = at(s.average_scores, i);
      average += rate * (score - average);
    }
  }
}

nn::BankTensors random_state(bool picks, bool average, Random& random) {
  const std::vector<std::int64_t> shape = {9, 39};  // whole blocks and a rest
  const auto numbers = [&] { return awkward_numbers<float>(shape, random); };
  nn::BankTensors s;
  s.values = numbers();
  s.owners = random_owners(shape, random);
  // The second block is all the task's, the third all an older one's, the fourth nobody's.
  s.owners.flatten().narrow(0, 64, 64).fill_(kTask);
  s.owners.flatten().narrow(0, 128, 64).fill_(1);
  s.owners.flatten().narrow(0, 192, 64).fill_(0);
  s.momentum = numbers();
  s.effective = numbers();
  if (picks) {
    s.scores = numbers().mul_(0.01);
    s.score_m = numbers();
    s.score_v = numbers().abs_();
  }
  if (average) s.average_values = numbers();
  if (average && picks) s.average_scores = numbers();
  return s;
}

std::vector<at::Tensor> all_of(const nn::BankTensors& s) {
  return {s.values,  s.owners,  s.momentum,       s.effective,     s.scores,
          s.score_m, s.score_v, s.average_values, s.average_scores};
}

/// NaN has many forms and which one an addition hands on is the processor's choice, so a number
/// that was computed may be any of them.
void expect_same(const at::Tensor& actual, const at::Tensor& expected, int which) {
  ASSERT_EQ(actual.defined(), expected.defined());
  if (!actual.defined()) return;
  if (actual.scalar_type() == at::kByte) {
    EXPECT_TRUE(actual.equal(expected)) << which;
    return;
  }
  EXPECT_TRUE(actual.isnan().equal(expected.isnan())) << which;
  EXPECT_EQ(bits_of(actual.nan_to_num(7)), bits_of(expected.nan_to_num(7))) << which;
}

TEST(BankUpdate, EveryBitIsThatOfOneEntryAfterTheOther) {
  for (int choice = 0; choice < 16; ++choice) {
    const bool picks = choice & 1, average = choice & 2, train = choice & 4, nesterov = choice & 8;
    SCOPED_TRACE(choice);
    Random random({.seed = 11});
    nn::BankTensors fast = random_state(picks, average, random);
    nn::BankTensors slow = fast;
    for (at::Tensor* t :
         {&slow.values, &slow.momentum, &slow.effective, &slow.scores, &slow.score_m, &slow.score_v,
          &slow.average_values, &slow.average_scores}) {
      if (t->defined()) *t = t->clone();
    }
    nn::UpdateOptions options;
    options.task = kTask;
    options.train_picks = train;
    options.sgd.nesterov = nesterov;
    options.average_decay = 0.9;
    options.pick_threshold = 0.005;
    for (int step = 1; step <= 3; ++step) {
      options.adam_step = step;
      const at::Tensor gradient = random_tensor(fast.values.sizes(), at::kFloat, random);
      nn::update(fast, gradient, options);
      update_one_by_one(slow, gradient, options);
      for (std::size_t i = 0; i < all_of(fast).size(); ++i) {
        expect_same(all_of(fast)[i], all_of(slow)[i], static_cast<int>(i));
      }
    }
  }
}

}  // namespace
}  // namespace cmat::test
