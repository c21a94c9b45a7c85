// Looking into a record that somebody else may have written: a missing field is no error and reads
// as absent, one of the wrong type is a failure that says where it stands.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cmat::report {

/// A value in a JSON document. Refers to the document, which must outlive it.
class Field {
 public:
  /// `place` is what error messages call it: "results.json of runs/a".
  Field(const nlohmann::json& value, std::string place)
      : value_(&value), place_(std::move(place)) {}

  /// False for an absent field and for null, which is what JSON makes of a number that is not
  /// finite.
  bool present() const { return !value_->is_null(); }

  /// A member of an object; absent when this is absent itself.
  Field operator[](std::string_view key) const;
  /// The elements of an array; none when this is absent.
  std::vector<Field> items() const;
  /// Keys of an object, in the order of the document's type (sorted).
  std::vector<std::string> keys() const;

  std::optional<double> number() const;
  std::optional<std::int64_t> integer() const;
  std::optional<bool> boolean() const;
  /// Fit to print.
  std::optional<std::string> string() const;
  std::string string_or(std::string_view fallback) const;

 private:
  [[noreturn]] void wrong_type(std::string_view wanted) const;

  const nlohmann::json* value_;
  std::string place_;
  std::string path_;  ///< "summary.clean.average"
};

}  // namespace cmat::report
