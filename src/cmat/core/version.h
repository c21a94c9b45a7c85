// The program's version, kept equal to the one in CMakeLists.txt by a test.
#pragma once

namespace cmat {
inline constexpr const char* kVersion = "0.1.0";
}
