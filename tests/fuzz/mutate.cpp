#include "fuzz/mutate.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace cmat::fuzz {
namespace {

using nlohmann::json;

/// Small numbers more often than large ones.
std::size_t short_length(Random& random, std::size_t most) {
  if (most == 0) return 0;
  const std::size_t limit = std::min(most, std::size_t{1} << random.below(13));
  return random.below(limit) + 1;
}

/// A number that a length field is likely to be misread at.
std::uint64_t odd_number(Random& random) {
  const std::uint64_t power = std::uint64_t{1} << random.below(64);
  switch (random.below(4)) {
    case 0:
      return power;
    case 1:
      return power - 1;
    case 2:
      return ~power;
    default:
      return random.below(256);
  }
}

void put_length_field(std::string& input, Random& random) {
  const std::size_t width = std::size_t{1} << random.below(4);
  if (input.size() < width) return;
  // Headers are at the front.
  const std::size_t within =
      random.below(2) == 0 ? std::min<std::size_t>(input.size(), 64) : input.size();
  const std::size_t at = random.below(std::max(within, width) - width + 1);
  const std::uint64_t value = odd_number(random);
  const bool big_endian = random.below(2) == 0;
  for (std::size_t i = 0; i < width; ++i) {
    const std::size_t shift = 8 * (big_endian ? width - 1 - i : i);
    input[at + i] = static_cast<char>(value >> shift & 255);
  }
}

/// A run of digits becomes another number.
void replace_number(std::string& input, Random& random) {
  if (input.empty()) return;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t at = random.below(input.size());
  while (at < input.size() && !is_digit(input[at])) ++at;
  std::size_t end = at;
  while (end < input.size() && is_digit(input[end])) ++end;
  if (at == end) return;
  const auto value = odd_number(random);
  input.replace(at, end - at,
                random.below(2) == 0 ? std::to_string(value)
                                     : std::to_string(static_cast<std::int64_t>(value)));
}

void repeat_piece(std::string& input, Random& random) {
  if (input.empty()) return;
  const std::size_t at = random.below(input.size());
  const std::string piece = input.substr(at, random.below(8) + 1);
  const std::size_t times = std::size_t{1} << random.below(17);
  std::string many;
  while (many.size() < piece.size() * times && many.size() < kLargestInput) many += piece;
  input.insert(at, many);
}

json odd_value(Random& random) {
  switch (random.below(10)) {
    case 0:
      return nullptr;
    case 1:
      return random.below(2) == 0;
    case 2:
      return odd_number(random);
    case 3:
      return static_cast<std::int64_t>(odd_number(random));
    case 4:
      return random.normal() * 1e300;
    case 5:
      return std::string(random.below(3) * 1000, 'x');
    case 6:
      return "\x1b[2J\n\t\xc3\xa9\x7f";
    case 7:
      return json::array();
    case 8:
      return json::object();
    default: {
      json deep = 1;
      for (std::uint64_t i = random.below(300); i > 0; --i) deep = json::array({std::move(deep)});
      return deep;
    }
  }
}

/// Changes a value somewhere in the tree: another type, an odd number, gone, doubled.
void mutate_value(json& value, Random& random, int depth = 0) {
  const bool inner = (value.is_object() || value.is_array()) && !value.empty();
  if (!inner || (depth > 0 && random.below(4) == 0)) {
    value = odd_value(random);
    return;
  }
  auto at = value.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(random.below(value.size())));
  switch (random.below(6)) {
    case 0:
      value.erase(at);
      return;
    case 1:
      if (value.is_array())
        value.push_back(*at);
      else
        value["x" + at.key()] = *at;
      return;
    default:
      mutate_value(*at, random, depth + 1);
  }
}

std::string mutate_json(const std::string& input, Random& random) {
  json value = json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return input;
  for (std::uint64_t i = random.below(4) + 1; i > 0; --i) mutate_value(value, random);
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

void mutate_bytes(const Target& target, std::string& input, const std::string& other,
                  Random& random) {
  const std::size_t at = random.below(input.size() + 1);
  const std::size_t length = short_length(random, input.size() - at);
  switch (random.below(11)) {
    case 0:
      if (at < input.size()) input[at] ^= static_cast<char>(1 << random.below(8));
      return;
    case 1:
      if (at < input.size()) input[at] = static_cast<char>(random.below(256));
      return;
    case 2:
      input.insert(at, length, static_cast<char>(random.below(256)));
      return;
    case 3:
      input.erase(at, length);
      return;
    case 4:
      if (random.below(4) == 0) input.resize(at);
      return;
    case 5:
      input.insert(random.below(input.size() + 1), input.substr(at, length));
      return;
    case 6: {
      const std::size_t from = random.below(other.size() + 1);
      const std::string piece = other.substr(from, short_length(random, other.size() - from));
      input.replace(at, random.below(2) == 0 ? 0 : length, piece);
      return;
    }
    case 7:
      if (!target.words.empty()) {
        const std::string& word = target.words[random.below(target.words.size())];
        input.replace(at, random.below(2) == 0 ? 0 : std::min(word.size(), input.size() - at),
                      word);
      }
      return;
    case 8:
      return put_length_field(input, random);
    case 9:
      return replace_number(input, random);
    default:
      if (random.below(4) == 0) repeat_piece(input, random);
  }
}

}  // namespace

std::string mutate(const Target& target, std::string base, const std::string& other,
                   Random& random) {
  if (target.is_json && random.below(2) == 0) return mutate_json(base, random);
  for (std::uint64_t i = random.below(8) + 1; i > 0; --i) {
    mutate_bytes(target, base, other, random);
    if (base.size() > kLargestInput) base.resize(kLargestInput);
  }
  return base;
}

}  // namespace cmat::fuzz
