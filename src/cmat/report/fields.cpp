#include "cmat/report/fields.h"

#include "cmat/core/error.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

const nlohmann::json& absent() {
  static const nlohmann::json null;
  return null;
}

}  // namespace

Field Field::operator[](std::string_view key) const {
  if (present() && !value_->is_object()) wrong_type("an object");
  const auto found = present() ? value_->find(key) : value_->end();
  Field child(found == value_->end() ? absent() : *found, place_);
  child.path_ = text(path_, path_.empty() ? "" : ".", key);
  return child;
}

std::vector<Field> Field::items() const {
  std::vector<Field> result;
  if (!present()) return result;
  if (!value_->is_array()) wrong_type("a list");
  for (std::size_t i = 0; i < value_->size(); ++i) {
    result.emplace_back((*value_)[i], place_);
    result.back().path_ = text(path_, "[", i, "]");
  }
  return result;
}

std::vector<std::string> Field::keys() const {
  std::vector<std::string> result;
  if (!present()) return result;
  if (!value_->is_object()) wrong_type("an object");
  for (const auto& [key, value] : value_->items()) result.push_back(key);
  return result;
}

std::optional<double> Field::number() const {
  if (!present()) return {};
  if (!value_->is_number()) wrong_type("a number");
  return value_->get<double>();
}

std::optional<std::int64_t> Field::integer() const {
  if (!present()) return {};
  if (!value_->is_number_integer()) wrong_type("a whole number");
  return value_->get<std::int64_t>();
}

std::optional<bool> Field::boolean() const {
  if (!present()) return {};
  if (!value_->is_boolean()) wrong_type("true or false");
  return value_->get<bool>();
}

std::optional<std::string> Field::string() const {
  if (!present()) return {};
  if (!value_->is_string()) wrong_type("a string");
  return printable(value_->get_ref<const std::string&>());
}

std::string Field::string_or(std::string_view fallback) const {
  return string().value_or(std::string(fallback));
}

void Field::wrong_type(std::string_view wanted) const {
  const bool whole = value_->is_number_float() && wanted == "a whole number";
  failure(printable(place_), path_.empty() ? "" : ": ", printable(path_), " should be ", wanted,
          ", but is ", whole ? "a fraction" : value_->type_name(),
          "; the file is damaged or was edited");
}

}  // namespace cmat::report
