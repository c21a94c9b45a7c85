// Exported files are checked by those who read them: onnxruntime and torch, in Python.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "cmat/core/tensor_file.h"

namespace cmat::test {

inline std::filesystem::path source_folder() {
  const char* folder = std::getenv("CMAT_SOURCE_DIR");
  if (!folder) throw std::runtime_error("CMAT_SOURCE_DIR is not set: run the test with ctest");
  return folder;
}

/// onnxruntime, made by scripts/setup.
inline std::filesystem::path onnx_python() {
  return source_folder() / ".deps/test-python/bin/python";
}
/// The torch wheel that scripts/setup takes libtorch from; absent where LIBTORCH is the user's.
inline std::filesystem::path torch_python() { return source_folder() / ".deps/python/bin/python"; }

/// Runs tests/export_check.py on every FOLDER/NAME.check, which says what FOLDER/NAME has to give.
inline void check_exports(const std::filesystem::path& python,
                          const std::filesystem::path& folder) {
#ifdef CMAT_SANITIZED
  GTEST_SKIP() << "what reads " << folder << " in Python is not built with a sanitizer: the files "
               << "were written, which is what the sanitizer watches";
#endif
  if (!std::filesystem::exists(python)) {
    GTEST_SKIP() << "there is no " << python << ": run scripts/setup";
  }
  const std::string command = "'" + python.string() + "' '" +
                              (source_folder() / "tests/export_check.py").string() + "' '" +
                              folder.string() + "'";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace cmat::test
