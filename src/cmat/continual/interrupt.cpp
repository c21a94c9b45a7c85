#include <csignal>
#include <cstdlib>

#include "cmat/continual/run.h"

namespace cmat::continual {
namespace {

volatile std::sig_atomic_t requested = 0;

void on_signal(int) {
  if (requested != 0) std::_Exit(130);
  requested = 1;
}

}  // namespace

void install_interrupt_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

bool interrupt_requested() { return requested != 0; }

}  // namespace cmat::continual
