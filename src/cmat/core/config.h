// A typed view of a TOML file. Whoever needs a value asks for it by its dotted key, with its
// default, range and meaning; finish() then refuses every key that nobody asked for, with the
// nearest known one. So the code that reads a value is the only place that has to know it, and
// resolved() writes the complete config, defaults included.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace cmat {

/// An entry of a list that may name things or count them.
using NameOrNumber = std::variant<std::int64_t, std::string>;

class Config {
 public:
  /// Reads a file. Throws a usage Error with file, line and column when it is not TOML.
  static Config load(const std::filesystem::path& path);
  static Config parse(std::string_view toml, std::string_view origin);
  ~Config();
  Config(Config&&) noexcept;
  Config& operator=(Config&&) noexcept;
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  /// Overrides one key: "train.epochs=5". The value is read as TOML, and as a string if it is not
  /// TOML (so that `--set method=cmat` needs no quotes). Tables cannot be set, only keys in them.
  void set(std::string_view assignment);

  bool has(std::string_view key) const;

  /// How many tables the list `key` has, written as so many [[key]] in the file; 0 if it is not
  /// there. The keys of the i-th, counted from 1, are asked for (and overridden) as "key.i.name".
  std::int64_t tables(std::string_view key);
  /// Makes all that `table` holds one more [[key]].
  void append_table(std::string_view key, const Config& table);

  // Each getter throws a usage Error that names the key, what was found and what is allowed.
  std::string string(std::string_view key, std::string_view fallback,
                     const std::vector<std::string>& allowed = {});
  std::string required_string(std::string_view key, const std::vector<std::string>& allowed = {});
  std::int64_t integer(std::string_view key, std::int64_t fallback, std::int64_t low,
                       std::int64_t high);
  double number(std::string_view key, double fallback, double low, double high);
  bool boolean(std::string_view key, bool fallback);
  /// A radius or step in pixel units, a string like "8/255" or a number. resolved() keeps the text.
  double pixels(std::string_view key, std::string_view fallback, double limit = 1.0);
  std::vector<std::int64_t> integers(std::string_view key,
                                     const std::vector<std::int64_t>& fallback);
  std::vector<double> numbers(std::string_view key, const std::vector<double>& fallback);
  std::vector<std::string> strings(std::string_view key, const std::vector<std::string>& fallback);
  /// ["cat", "dog"], or [0, 6]
  std::vector<NameOrNumber> names_or_numbers(std::string_view key);
  /// [[0, 6], [2, 4]]
  std::vector<std::vector<std::int64_t>> integer_lists(
      std::string_view key, const std::vector<std::vector<std::int64_t>>& fallback);

  /// Throws a usage Error for the first key that no getter asked for, with the nearest known key.
  void finish() const;

  /// Everything that was asked for, values and defaults, as TOML that loads to the same config.
  std::string resolved() const;

 private:
  Config();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The candidate with the smallest edit distance, or "" when none is near enough to suggest.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace cmat
