#include "cmat/core/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "cmat/core/config_text.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/fraction.h"

namespace cmat {
namespace {

using toml_text::literal;
using toml_text::shortest;

std::string trim(std::string_view value) {
  constexpr std::string_view spaces = " \t\r\n";
  const std::size_t first = value.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return std::string(value.substr(first, value.find_last_not_of(spaces) - first + 1));
}

std::vector<std::string> split_key(std::string_view key) {
  std::vector<std::string> parts(1);
  for (const char c : key) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// What a value is, in words: `the string "ten"`.
std::string describe(const toml::node& node) {
  if (const auto value = node.value_exact<std::string>()) {
    constexpr std::size_t longest = 60;
    return "the string " +
           literal(value->size() > longest ? value->substr(0, longest) + "..." : *value);
  }
  if (const auto value = node.value_exact<std::int64_t>()) return "the integer " + literal(*value);
  if (const auto value = node.value_exact<double>()) return "the number " + literal(*value);
  if (const auto value = node.value_exact<bool>()) return "the boolean " + literal(*value);
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  return "a date or time";
}

std::optional<std::int64_t> as_integer(const toml::node& node) {
  return node.value_exact<std::int64_t>();
}

std::optional<double> as_number(const toml::node& node) {
  if (const auto value = as_integer(node)) return static_cast<double>(*value);
  const auto value = node.value_exact<double>();
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<std::string> as_string(const toml::node& node) {
  return node.value_exact<std::string>();
}

std::optional<std::vector<std::int64_t>> as_integers(const toml::node& node) {
  const toml::array* list = node.as_array();
  if (!list) return {};
  std::vector<std::int64_t> values;
  for (const toml::node& entry : *list) {
    const auto value = as_integer(entry);
    if (!value) return {};
    values.push_back(*value);
  }
  return values;
}

/// " from 1 to 5", without an end that is no real limit.
template <typename T>
std::string range(T low, T high) {
  const bool from = low > std::numeric_limits<T>::lowest();
  const bool to = high < std::numeric_limits<T>::max();
  const auto words = [](T value) {
    if constexpr (std::is_same_v<T, double>) return shortest(value);
    return literal(value);
  };
  if (from && to) return text(" from ", words(low), " to ", words(high));
  if (from) return text(" of at least ", words(low));
  if (to) return text(" of at most ", words(high));
  return {};
}

/// The first line with a key of more tables than anybody needs and the stack can bear, or 0. A key
/// stands on one line, so dots are counted; those of a comment do not matter.
std::size_t line_of_deep_key(std::string_view toml) {
  constexpr std::ptrdiff_t most = 1000;
  std::size_t number = 1;
  while (!toml.empty()) {
    const std::string_view line = toml.substr(0, toml.find('\n'));
    if (std::count(line.begin(), line.end(), '.') > most && !line.starts_with('#')) return number;
    toml.remove_prefix(std::min(toml.size(), line.size() + 1));
    ++number;
  }
  return 0;
}

toml::table parse_toml(std::string_view toml, std::string_view origin) {
  if (const std::size_t line = line_of_deep_key(toml)) {
    usage_error(origin, ", line ", line,
                " has more than a thousand dots: shorten its key or value");
  }
  try {
    return toml::parse(toml, origin);
  } catch (const toml::parse_error& error) {
    const toml::source_position place = error.source().begin;
    std::string description(error.description());  // may quote what a terminal must not see
    std::replace_if(
        description.begin(), description.end(),
        [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    usage_error(origin, ", line ", place.line, ", column ", place.column, ": ", description);
  }
}

/// The value of --set: TOML if it is that, or else a string.
toml::table parse_value(const std::string& value) {
  if (line_of_deep_key(value)) return toml::table{{"value", value}};
  try {
    toml::table parsed = toml::parse("value = " + value);
    // A value with a line break may smuggle in further keys.
    if (parsed.size() == 1 && parsed.contains("value")) return parsed;
  } catch (const toml::parse_error&) {
  }
  return toml::table{{"value", value}};
}

/// A key of the file that does not belong there.
struct Stray {
  bool in_file;
  toml::source_index line;
  std::string key;
  const toml::node* table_wanted;  ///< the value that stands where a table belongs

  auto order() const { return std::tuple(in_file, line, key); }
};

}  // namespace

struct Config::Impl {
  toml::table root;
  std::string origin;
  std::set<std::string, std::less<>> overridden;          // by --set
  std::map<std::string, std::string, std::less<>> asked;  // key -> its value as TOML

  const toml::node* find(std::string_view key) const {
    const toml::node* node = &root;
    for (const std::string& part : split_key(key)) {
      const toml::table* table = node->as_table();
      node = table ? table->get(part) : nullptr;
      if (!node) return nullptr;
    }
    return node;
  }

  /// "train.epochs in FILE"
  std::string place(std::string_view key) const {
    return text(key, " in ", overridden.contains(key) ? "--set" : origin);
  }

  [[noreturn]] void refuse(std::string_view key, const std::string& wanted,
                           const std::string& found) const {
    usage_error(place(key), " must be ", wanted, ", but ", found);
  }

  template <typename T>
  T note(std::string_view key, T value) {
    asked.insert_or_assign(std::string(key), literal(value));
    return value;
  }

  /// The value at `key`. A value equal to the default is good whatever `accept` says, so that the
  /// resolved config always loads.
  template <typename T, typename Read, typename Accept>
  T get(std::string_view key, const T& fallback, const std::string& wanted, Read read,
        Accept accept) {
    const toml::node* node = find(key);
    if (!node) return note(key, fallback);
    const std::optional<T> value = read(*node);
    if (!value || !(*value == fallback || accept(*value)))
      refuse(key, wanted, "is " + describe(*node));
    return note(key, *value);
  }

  template <typename T, typename Read>
  std::vector<T> get_list(std::string_view key, const std::vector<T>& fallback,
                          const std::string& wanted, Read read) {
    const toml::node* node = find(key);
    if (!node) return note(key, fallback);
    const toml::array* list = node->as_array();
    if (!list) refuse(key, wanted, "is " + describe(*node));
    std::vector<T> values;
    for (const toml::node& entry : *list) {
      std::optional<T> value = read(entry);
      if (!value)
        refuse(key, wanted, text("its entry ", values.size() + 1, " is ", describe(entry)));
      values.push_back(std::move(*value));
    }
    return note(key, values);
  }

  std::string get_choice(std::string_view key, const toml::node& node,
                         const std::vector<std::string>& allowed) {
    const std::optional<std::string> value = as_string(node);
    const std::string wanted = allowed.empty() ? "a string" : toml_text::alternatives(allowed);
    if (!value) refuse(key, wanted, "is " + describe(node));
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), *value) == allowed.end()) {
      const std::string guess = nearest(*value, allowed);
      refuse(key, wanted,
             text("is ", describe(node),
                  guess.empty() ? "" : "; did you mean " + literal(guess) + "?"));
    }
    return note(key, *value);
  }

  bool is_known_table(const std::string& key) const {
    const auto next = asked.lower_bound(key + ".");
    return next != asked.end() && next->first.starts_with(key + ".");
  }

  void collect_strays(const toml::table& table, const std::string& prefix,
                      std::vector<Stray>& strays) const {
    for (const auto& [name, node] : table) {
      const std::string key = prefix + toml_text::key_part(name.str());
      if (asked.contains(key)) continue;
      const toml::table* inner = node.as_table();
      const bool known_table = is_known_table(key);
      if (inner) collect_strays(*inner, key + ".", strays);
      if (inner && (!inner->empty() || known_table)) continue;
      strays.push_back({!overridden.contains(key), name.source().begin.line, key,
                        known_table ? &node : nullptr});
    }
  }

  /// The known key that was meant: one that is spelt almost so, or the same word in another table.
  std::string guess(const std::string& key) const {
    std::vector<std::string> known;
    for (const auto& [name, value] : asked) known.push_back(name);
    std::string best = nearest(key, known);
    const std::string word = split_key(key).back();
    for (const std::string& name : known) {
      if (best.empty() && split_key(name).back() == word) best = name;
    }
    return best;
  }
};

Config::Config() : impl_(std::make_unique<Impl>()) {}
Config::~Config() = default;
Config::Config(Config&&) noexcept = default;
Config& Config::operator=(Config&&) noexcept = default;

Config Config::load(const std::filesystem::path& path) {
  std::string content;
  try {
    content = read_file(path);
  } catch (const Error& error) {
    usage_error(error.what());  // a config that is not there is a wrong call
  }
  return parse(content, path.string());
}

Config Config::parse(std::string_view toml, std::string_view origin) {
  Config config;
  config.impl_->root = parse_toml(toml, origin);
  config.impl_->origin = origin;
  return config;
}

void Config::set(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  const std::string key = trim(assignment.substr(0, equals));
  const std::vector<std::string> parts = split_key(key);
  constexpr std::size_t deepest = 16;  // tables of tables
  if (equals == std::string_view::npos || parts.size() > deepest ||
      !std::all_of(parts.begin(), parts.end(), toml_text::is_bare_key)) {
    usage_error("--set needs KEY=VALUE such as train.epochs=5, but got ", literal(assignment));
  }
  toml::table parsed = parse_value(trim(assignment.substr(equals + 1)));
  const toml::node& value = *parsed.get("value");
  if (value.is_table())
    usage_error("--set ", key, " is given a table; set one key of it at a time");

  toml::table* table = &impl_->root;
  std::string path;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    path += (i > 0 ? "." : "") + parts[i];
    toml::node* next = table->get(parts[i]);
    if (!next) next = &table->insert_or_assign(parts[i], toml::table{}).first->second;
    table = next->as_table();
    if (!table) {
      usage_error("--set ", key, " needs a table, but ", impl_->place(path), " is ",
                  describe(*next));
    }
  }
  const toml::node* old = table->get(parts.back());
  if (old && old->is_table()) usage_error("--set ", key, " names a table; set one of its keys");
  table->insert_or_assign(parts.back(), value);
  impl_->overridden.insert(key);
}

bool Config::has(std::string_view key) const { return impl_->find(key) != nullptr; }

std::string Config::string(std::string_view key, std::string_view fallback,
                           const std::vector<std::string>& allowed) {
  const toml::node* node = impl_->find(key);
  if (!node || as_string(*node) == fallback) return impl_->note(key, std::string(fallback));
  return impl_->get_choice(key, *node, allowed);
}

std::string Config::required_string(std::string_view key, const std::vector<std::string>& allowed) {
  if (const toml::node* node = impl_->find(key)) return impl_->get_choice(key, *node, allowed);
  usage_error(impl_->place(key), " is missing; set it to ",
              allowed.empty() ? "a string" : toml_text::alternatives(allowed));
}

std::int64_t Config::integer(std::string_view key, std::int64_t fallback, std::int64_t low,
                             std::int64_t high) {
  return impl_->get(key, fallback, "an integer" + range(low, high), as_integer,
                    [&](std::int64_t value) { return low <= value && value <= high; });
}

double Config::number(std::string_view key, double fallback, double low, double high) {
  return impl_->get(key, fallback, "a number" + range(low, high), as_number,
                    [&](double value) { return low <= value && value <= high; });
}

bool Config::boolean(std::string_view key, bool fallback) {
  return impl_->get(
      key, fallback, "true or false",
      [](const toml::node& node) { return node.value_exact<bool>(); }, [](bool) { return true; });
}

double Config::pixels(std::string_view key, std::string_view fallback, double limit) {
  const toml::node* node = impl_->find(key);
  if (!node) {
    impl_->note(key, std::string(fallback));
    return parse_eps_pixels(fallback, text("the default of ", key), limit);
  }
  const std::optional<std::string> words = as_string(*node);
  const std::optional<double> value = as_number(*node);
  if (!words && !value) {
    impl_->refuse(key, "a number or a fraction such as \"8/255\"", "is " + describe(*node));
  }
  const double eps = parse_eps_pixels(words ? *words : shortest(*value), impl_->place(key), limit);
  if (words) {
    impl_->note(key, *words);
  } else {
    impl_->note(key, *value);
  }
  return eps;
}

std::vector<std::int64_t> Config::integers(std::string_view key,
                                           const std::vector<std::int64_t>& fallback) {
  return impl_->get_list(key, fallback, "a list of integers such as [1, 2]", as_integer);
}

std::vector<double> Config::numbers(std::string_view key, const std::vector<double>& fallback) {
  return impl_->get_list(key, fallback, "a list of numbers such as [0.5, 1.0]", as_number);
}

std::vector<std::string> Config::strings(std::string_view key,
                                         const std::vector<std::string>& fallback) {
  return impl_->get_list(key, fallback, "a list of strings such as [\"a\", \"b\"]", as_string);
}

std::vector<std::vector<std::int64_t>> Config::integer_lists(
    std::string_view key, const std::vector<std::vector<std::int64_t>>& fallback) {
  return impl_->get_list(key, fallback, "a list of lists of integers such as [[0, 1], [2, 3]]",
                         as_integers);
}

void Config::finish() const {
  std::vector<Stray> strays;
  impl_->collect_strays(impl_->root, "", strays);
  if (strays.empty()) return;
  const Stray& first =
      *std::min_element(strays.begin(), strays.end(),
                        [](const Stray& a, const Stray& b) { return a.order() < b.order(); });
  const std::string place = first.in_file ? text(impl_->origin, ", line ", first.line) : "--set";
  if (first.table_wanted) {
    usage_error(first.key, " in ", place, " must be a table of settings, but is ",
                describe(*first.table_wanted));
  }
  const std::string guess = impl_->guess(first.key);
  usage_error("unknown key ", first.key, " in ", place, "; ",
              guess.empty() ? "remove it or correct its name" : "did you mean " + guess + "?");
}

std::string Config::resolved() const {
  std::map<std::string, std::string> tables;  // name -> its lines; the top level has no name
  for (const auto& [key, value] : impl_->asked) {
    const std::size_t dot = key.rfind('.');
    const std::string table = dot == std::string::npos ? "" : key.substr(0, dot);
    tables[table] += text(dot == std::string::npos ? key : key.substr(dot + 1), " = ", value, "\n");
  }
  std::string result;
  for (const auto& [table, lines] : tables) {
    if (!result.empty()) result += "\n";
    if (!table.empty()) result += text("[", table, "]\n");
    result += lines;
  }
  return result;
}

}  // namespace cmat
