#include "cmat/core/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "cmat/core/config_nodes.h"
#include "cmat/core/config_text.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/fraction.h"

namespace cmat {
namespace {

using namespace toml_nodes;
using toml_text::literal;
using toml_text::shortest;
using toml_text::trimmed;

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
  std::set<std::string, std::less<>> lists;               // of tables, that were asked for

  const toml::node* find(std::string_view key) const {
    const toml::node* node = &root;
    for (const std::string& part : split_key(key)) {
      node = child(*node, part);
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

  void require_table_list(std::string_view key, const toml::node& node) const {
    const toml::array* list = node.as_array();
    if (list && (list->empty() || is_table_list(node))) return;
    refuse(key, text("a list of tables, each under a line [[", key, "]]"), "is " + describe(node));
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
      if (lists.contains(key)) {
        const auto count = static_cast<std::int64_t>(node.as_array()->size());
        for (std::int64_t i = 1; i <= count; ++i) {
          const std::string entry = text(key, ".", i);
          collect_strays(*child(node, std::to_string(i))->as_table(), entry + ".", strays);
        }
        continue;
      }
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
    known.insert(known.end(), lists.begin(), lists.end());
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
  const std::string key(trimmed(assignment.substr(0, equals)));
  const std::vector<std::string> parts = split_key(key);
  constexpr std::size_t deepest = 16;  // tables of tables
  if (equals == std::string_view::npos || parts.size() > deepest ||
      !std::all_of(parts.begin(), parts.end(), toml_text::is_bare_key)) {
    usage_error("--set needs KEY=VALUE such as train.epochs=5, but got ", literal(assignment));
  }
  toml::table parsed = parse_value(std::string(trimmed(assignment.substr(equals + 1))));
  const toml::node& value = *parsed.get("value");
  if (value.is_table())
    usage_error("--set ", key, " is given a table; set one key of it at a time");

  toml::table* table = &impl_->root;
  std::string path;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    path += (i > 0 ? "." : "") + parts[i];
    toml::node* next = table->get(parts[i]);
    if (!next) next = &table->insert_or_assign(parts[i], toml::table{}).first->second;
    if (is_table_list(*next)) {
      path += "." + parts[++i];
      toml::node* entry = i + 1 < parts.size() ? child(*next, parts[i]) : nullptr;
      if (!entry) {
        usage_error("--set ", key, " must name one of the ", next->as_array()->size(), " [[",
                    parts[i - 1], "]] and a key of it, such as ", parts[i - 1], ".1.name");
      }
      next = entry;
    }
    table = next->as_table();
    if (!table) {
      usage_error("--set ", key, " needs a table, but ", impl_->place(path), " is ",
                  describe(*next));
    }
  }
  const toml::node* old = table->get(parts.back());
  if (old && (old->is_table() || is_table_list(*old)))
    usage_error("--set ", key, " names a table; set one of its keys");
  table->insert_or_assign(parts.back(), value);
  impl_->overridden.insert(key);
}

bool Config::has(std::string_view key) const { return impl_->find(key) != nullptr; }

std::int64_t Config::tables(std::string_view key) {
  const toml::node* node = impl_->find(key);
  if (node) impl_->require_table_list(key, *node);
  impl_->lists.emplace(key);
  return node ? static_cast<std::int64_t>(node->as_array()->size()) : 0;
}

void Config::append_table(std::string_view key, const Config& table) {
  toml::node* list = impl_->root.get(key);
  if (!list) list = &impl_->root.insert_or_assign(key, toml::array{}).first->second;
  impl_->require_table_list(key, *list);
  list->as_array()->push_back(table.impl_->root);
}

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

std::vector<NameOrNumber> Config::names_or_numbers(std::string_view key) {
  return impl_->get_list(key, std::vector<NameOrNumber>(),
                         "a list of names or numbers such as [\"cat\", \"dog\"] or [0, 3]",
                         as_name_or_number);
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
  const auto write = [&](const std::string& heading, const std::string& lines) {
    result += (result.empty() ? "" : "\n") + heading + lines;
  };
  const auto list_of = [&](const std::string& table) {
    const std::string first = table.substr(0, table.find('.'));
    return impl_->lists.contains(first) ? first : std::string();
  };
  for (const auto& [table, lines] : tables) {
    if (list_of(table).empty()) write(table.empty() ? "" : text("[", table, "]\n"), lines);
  }
  for (const std::string& list : impl_->lists) {
    const toml::node* node = impl_->find(list);
    const auto count = node ? static_cast<std::int64_t>(node->as_array()->size()) : 0;
    for (std::int64_t i = 1; i <= count; ++i) {
      const std::string entry = text(list, ".", i);
      const auto own = tables.find(entry);
      write(text("[[", list, "]]\n"), own == tables.end() ? "" : own->second);
      for (auto inner = tables.lower_bound(entry + "."); inner != tables.end(); ++inner) {
        if (!inner->first.starts_with(entry + ".")) break;
        write(text("[", list, inner->first.substr(entry.size()), "]\n"), inner->second);
      }
    }
  }
  return result;
}

}  // namespace cmat
