// train/run_state: the JSON within a checkpoint.
#include "cmat/train/run_state.h"

#include <stdexcept>

#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

void run(std::string_view input) {
  using nlohmann::json;
  const json parsed = json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return;
  const std::string once = train::to_json(train::state_from_json(parsed)).dump();
  if (train::to_json(train::state_from_json(json::parse(once))).dump() != once) {
    throw std::logic_error("a state changes when it is written and read again");
  }
}

}  // namespace

std::vector<Target> run_state_targets() {
  return {{.name = "run-state",
           .run = run,
           .seeds = {train::to_json(train::RunState{}).dump()},
           .words = {"\"nan\"", "\"inf\"", "null", "-1", "1e400", "[[[[",
                     "{\"a\":", "\"begin_task\"", "\"stages\"", "9223372036854775808"},
           .is_json = true}};
}

}  // namespace cmat::fuzz
