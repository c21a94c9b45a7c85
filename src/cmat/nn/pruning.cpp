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

#include "cmat/nn/multiversion.h"

namespace cmat::nn {
namespace {

constexpr std::int64_t kGrain = 65536;
constexpr int kDigitBits = 16;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;

constexpr std::int64_t kBlock = 64;

template <typename T>
using Word = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

/// Magnitudes are ordered as their bits without the sign are, read as integers.
template <typename T>
inline __attribute__((always_inline)) Word<T> magnitude_bits(T value) {
  constexpr Word<T> kWithoutSign = std::numeric_limits<Word<T>>::max() >> 1;
  constexpr Word<T> kInfinity = std::bit_cast<Word<T>>(std::numeric_limits<T>::infinity());
  return std::min(std::bit_cast<Word<T>>(value) & kWithoutSign, kInfinity);
}

/// Adds to `counts` the candidates among the n entries whose digits above the one at `shift` are
/// `prefix`. Block by block, so that the digits of a block are computed as vectors and a block
/// without a match is left at once.
template <typename T>
inline __attribute__((always_inline)) void count_digits_in(const T* values,
                                                           const std::uint8_t* owners,
                                                           std::int64_t n, int task, int shift,
                                                           Word<T> prefix, std::uint32_t* counts) {
  Word<T> digits[kBlock], candidate[kBlock];
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t count = std::min(kBlock, n - at);
    Word<T> matches = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      digits[i] = magnitude_bits(values[at + i]) >> shift;
      matches |= Word<T>(digits[i] >> kDigitBits == prefix);
    }
    if (matches == 0) continue;
    for (std::int64_t i = 0; i < count; ++i) {
      const Word<T> owner = owners[at + i];
      candidate[i] = Word<T>(owner == 0) | Word<T>(owner == Word<T>(task));
    }
    for (std::int64_t i = 0; i < count; ++i) {
      if (digits[i] >> kDigitBits != prefix) continue;
      // Added, not branched on: owners alternate without a pattern.
      counts[digits[i] % kDigits] += static_cast<std::uint32_t>(candidate[i]);
    }
  }
}

CMAT_MULTIVERSION void count_digits_of(const float* values, const std::uint8_t* owners,
                                       std::int64_t n, int task, int shift, std::uint32_t prefix,
                                       std::uint32_t* counts) {
  count_digits_in(values, owners, n, task, shift, prefix, counts);
}

CMAT_MULTIVERSION void count_digits_of(const double* values, const std::uint8_t* owners,
                                       std::int64_t n, int task, int shift, std::uint64_t prefix,
                                       std::uint32_t* counts) {
  count_digits_in(values, owners, n, task, shift, prefix, counts);
}

/// How many candidates there are for each value of the digit at `shift`, among those whose digits
/// above it are `prefix`.
template <typename T>
std::vector<std::int64_t> count_digits(const at::Tensor& values, const at::Tensor& owners, int task,
                                       int shift, Word<T> prefix) {
  const T* v = values.const_data_ptr<T>();
  const auto* o = owners.const_data_ptr<std::uint8_t>();
  std::vector<std::int64_t> counts(kDigits, 0);
  std::mutex adding;
  at::parallel_for(0, values.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> mine(kDigits, 0);
    count_digits_of(v + begin, o + begin, end - begin, task, shift, prefix, mine.data());
    const std::lock_guard lock(adding);
    for (std::size_t d = 0; d < kDigits; ++d) counts[d] += mine[d];
  });
  return counts;
}

/// Radix selection: the digits of the answer, the highest first, each from one pass that counts.
template <typename T>
T select_magnitude(const at::Tensor& values, const at::Tensor& owners, int task, std::int64_t k) {
  Word<T> prefix = 0;
  for (int shift = 8 * int{sizeof(T)} - kDigitBits; shift >= 0; shift -= kDigitBits) {
    const std::vector<std::int64_t> counts = count_digits<T>(values, owners, task, shift, prefix);
    std::size_t digit = 0;
    while (digit + 1 < kDigits && counts[digit] < k) k -= counts[digit++];
    prefix = prefix << kDigitBits | static_cast<Word<T>>(digit);
  }
  return std::bit_cast<T>(prefix);
}

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
  T* values = s.values.data_ptr<T>();
  auto* owners = s.owners.data_ptr<std::uint8_t>();
  std::vector<T*> cleared = {values, s.momentum.data_ptr<T>(), s.effective.data_ptr<T>()};
  if (s.average_values.defined()) cleared.push_back(s.average_values.data_ptr<T>());
  std::int64_t freed = 0;
  Word<T> keep[kBlock];  // all bits, or none
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t count = std::min(kBlock, end - at);
    Word<T> gone = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Word<T> small = std::abs(values[at + i]) <= limit;
      keep[i] = (small & Word<T>(owners[at + i] == task)) - 1;
      gone += ~keep[i] & 1;
    }
    if (gone == 0) continue;
    freed += static_cast<std::int64_t>(gone);
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
