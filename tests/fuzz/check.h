// What a parser may do with an input.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <typeinfo>

#include "cmat/core/error.h"
#include "fuzz/target.h"

namespace cmat::fuzz {

/// Runs the target. Returns what is wrong, or "": it must succeed or throw an Error of one line
/// that a terminal can show.
inline std::string defect_of(const Target& target, std::string_view input) {
  try {
    target.run(input);
  } catch (const Error& error) {
    const std::string_view message = error.what();
    for (const char c : message) {
      const auto code = static_cast<unsigned char>(c);
      if (code < 0x20 || code == 0x7f) return "an error message with a control character";
    }
  } catch (const std::exception& error) {
    return std::string("an exception that is no cmat::Error: ") + typeid(error).name() + ": " +
           error.what();
  } catch (...) {
    return "an exception of no known type";
  }
  return "";
}

}  // namespace cmat::fuzz
