#include "cmat/nn/pruning.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <type_traits>
#include <vector>

namespace cmat::nn {
namespace {

constexpr std::int64_t kGrain = 65536;
constexpr int kDigitBits = 16;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;

/// Magnitudes are ordered as their bits without the sign are, read as integers.
template <typename T>
inline std::uint64_t magnitude_bits(T value) {
  using Word = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr Word kWithoutSign = std::numeric_limits<Word>::max() >> 1;
  const Word bits = std::bit_cast<Word>(value) & kWithoutSign;
  return std::min(bits, std::bit_cast<Word>(std::numeric_limits<T>::infinity()));
}

/// Adds to `counts` the entries of `values[0, n)`. A function of its own, with everything by value,
/// so that nothing but the counts is in memory.
template <typename T>
void count_digits_in(const T* values, const std::uint8_t* owners, std::int64_t n, std::uint8_t task,
                     int shift, std::uint64_t prefix, std::uint32_t* counts) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t digits = magnitude_bits(values[i]) >> shift;
    if (digits >> kDigitBits != prefix) continue;
    // Added, not branched on: owners alternate without a pattern.
    counts[digits % kDigits] += unsigned(owners[i] == 0) | unsigned(owners[i] == task);
  }
}

/// How many candidates there are for each value of the digit at `shift`, among those whose digits
/// above it are `prefix`.
template <typename T>
std::vector<std::int64_t> count_digits(const at::Tensor& values, const at::Tensor& owners, int task,
                                       int shift, std::uint64_t prefix) {
  const T* v = values.const_data_ptr<T>();
  const auto* o = owners.const_data_ptr<std::uint8_t>();
  std::vector<std::int64_t> counts(kDigits, 0);
  std::mutex adding;
  at::parallel_for(0, values.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> mine(kDigits, 0);
    count_digits_in(v + begin, o + begin, end - begin, static_cast<std::uint8_t>(task), shift,
                    prefix, mine.data());
    const std::lock_guard lock(adding);
    for (std::size_t d = 0; d < kDigits; ++d) counts[d] += mine[d];
  });
  return counts;
}

/// Radix selection: the digits of the answer, the highest first, each from one pass that counts.
template <typename T>
T select_magnitude(const at::Tensor& values, const at::Tensor& owners, int task, std::int64_t k) {
  std::uint64_t prefix = 0;
  for (int shift = 8 * int{sizeof(T)} - kDigitBits; shift >= 0; shift -= kDigitBits) {
    const std::vector<std::int64_t> counts = count_digits<T>(values, owners, task, shift, prefix);
    std::size_t digit = 0;
    while (digit + 1 < kDigits && counts[digit] < k) k -= counts[digit++];
    prefix = prefix << kDigitBits | digit;
  }
  if constexpr (sizeof(T) == 8)
    return std::bit_cast<T>(prefix);
  else
    return std::bit_cast<T>(static_cast<std::uint32_t>(prefix));
}

template <typename T>
using Word = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

/// Clears the entries of a block where `keep` has no bits. As in the update, whether an entry goes
/// has no pattern that a processor could predict, so each is rewritten.
template <typename T>
void clear(T* values, const Word<T>* keep, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = std::bit_cast<T>(std::bit_cast<Word<T>>(values[i]) & keep[i]);
  }
}

template <typename T>
std::int64_t free_small_in(BankTensors& s, int task, T limit, std::int64_t begin,
                           std::int64_t end) {
  constexpr std::int64_t kBlock = 64;
  T* values = s.values.data_ptr<T>();
  auto* owners = s.owners.data_ptr<std::uint8_t>();
  std::vector<T*> cleared = {values, s.momentum.data_ptr<T>(), s.effective.data_ptr<T>()};
  if (s.average_values.defined()) cleared.push_back(s.average_values.data_ptr<T>());
  std::int64_t freed = 0;
  Word<T> keep[kBlock];
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t count = std::min(kBlock, end - at);
    Word<T> kept = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Word<T> small = std::abs(values[at + i]) <= limit;
      keep[i] = (small & Word<T>(owners[at + i] == task)) - 1;
      kept += keep[i];
    }
    if (kept == -count) continue;
    freed += count + kept;
    for (T* tensor : cleared) clear<T>(tensor + at, keep, count);
    for (std::int64_t i = 0; i < count; ++i) {
      owners[at + i] = static_cast<std::uint8_t>(owners[at + i] & keep[i]);
    }
  }
  return freed;
}

template <typename T>
std::int64_t free_small_on_cpu(BankTensors& s, int task, double cutoff) {
  std::atomic<std::int64_t> freed = 0;
  at::parallel_for(0, s.values.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    freed += free_small_in<T>(s, task, static_cast<T>(cutoff), begin, end);
  });
  return freed;
}

}  // namespace

double kth_magnitude(const at::Tensor& values, const at::Tensor& owners, int task, std::int64_t k) {
  return values.scalar_type() == at::kDouble ? select_magnitude<double>(values, owners, task, k)
                                             : select_magnitude<float>(values, owners, task, k);
}

std::int64_t free_small(BankTensors& s, int task, double cutoff) {
  if (s.values.is_cpu()) {
    return s.values.scalar_type() == at::kDouble ? free_small_on_cpu<double>(s, task, cutoff)
                                                 : free_small_on_cpu<float>(s, task, cutoff);
  }
  const at::Tensor drop = s.owners.eq(task).logical_and_(s.values.abs().le(cutoff));
  s.owners.masked_fill_(drop, 0);
  for (const at::Tensor& t : {s.values, s.momentum, s.effective, s.average_values}) {
    if (t.defined()) t.masked_fill_(drop, 0);
  }
  return drop.sum().item<std::int64_t>();
}

}  // namespace cmat::nn
