// Threads that do the same.
#pragma once

#include <functional>
#include <system_error>
#include <thread>
#include <vector>

#include "cmat/core/error.h"

namespace cmat::data {

/// Starts `count` threads, or as many as the system allows, but at least one. They are joined when
/// the vector goes away.
inline std::vector<std::jthread> start_threads(int count, const std::function<void()>& work) {
  std::vector<std::jthread> threads;
  try {
    for (int i = 0; i < count; ++i) threads.emplace_back(work);
  } catch (const std::system_error& error) {
    if (threads.empty()) failure("cannot start a thread that decodes pictures: ", error.what());
  }
  return threads;
}

}  // namespace cmat::data
