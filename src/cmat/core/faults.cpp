#include "cmat/core/faults.h"

#include <signal.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cmat/core/error.h"

namespace cmat {
namespace {

constexpr std::array<std::string_view, 6> call_names = {"open",   "write", "fsync",
                                                        "rename", "link",  "truncate"};

struct Reason {
  std::string_view name;
  int code;  // -1: a kill
};
constexpr std::array<Reason, 8> reasons = {{{"EACCES", EACCES},
                                            {"EDQUOT", EDQUOT},
                                            {"EINTR", EINTR},
                                            {"EIO", EIO},
                                            {"ENOSPC", ENOSPC},
                                            {"EPERM", EPERM},
                                            {"EROFS", EROFS},
                                            {"KILL", -1}}};

struct Plan {
  std::size_t call = call_names.size();  // none
  std::int64_t from = 0, to = 0;         // 1-based, both included
  int code = 0;
};

/// "fsync:3+:EIO"
Plan parse(std::string_view words) {
  Plan plan;
  const std::size_t first = words.find(':'), second = words.find(':', first + 1);
  bool good = first != std::string_view::npos && second != std::string_view::npos;
  if (good) {
    const std::string_view call = words.substr(0, first), reason = words.substr(second + 1);
    std::string_view number = words.substr(first + 1, second - first - 1);
    for (plan.call = 0; plan.call < call_names.size(); ++plan.call) {
      if (call_names[plan.call] == call) break;
    }
    for (const Reason& each : reasons) {
      if (each.name == reason) plan.code = each.code;
    }
    const bool on = number.ends_with('+');
    if (on) number.remove_suffix(1);
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), plan.from);
    plan.to = on ? INT64_MAX : plan.from;
    good = plan.call < call_names.size() && plan.code != 0 && error == std::errc() &&
           end == number.data() + number.size() && plan.from > 0;
  }
  if (!good) {
    usage_error(
        "CMAT_INJECT_FAULT is \"", words,
        "\", but must be CALL:NUMBER:ERRNO such as fsync:3:EIO; it is for tests, so unset it");
  }
  return plan;
}

Plan plan_of_environment() {
  const char* words = std::getenv("CMAT_INJECT_FAULT");
  return words ? parse(words) : Plan{};
}

}  // namespace

bool injected_fault(FaultyCall call) {
  static const Plan plan = plan_of_environment();
  if (plan.call != static_cast<std::size_t>(call)) return false;
  static std::atomic<std::int64_t> calls = 0;
  const std::int64_t number = ++calls;
  if (number < plan.from || number > plan.to) return false;
  if (plan.code < 0) ::raise(SIGKILL);
  errno = plan.code;
  return true;
}

}  // namespace cmat
