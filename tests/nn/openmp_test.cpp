// One OpenMP runtime in the process: ours is libtorch's.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <link.h>
#include <omp.h>

#include <set>
#include <string>

namespace cmat {
namespace {

TEST(OpenMp, OneRuntimeIsLoaded) {
  std::set<std::string> runtimes;
  const auto note = [](dl_phdr_info* object, std::size_t, void* found) {
    const std::string path = object->dlpi_name, name = path.substr(path.rfind('/') + 1);
    for (const char* runtime : {"libgomp", "libiomp", "libomp"}) {
      if (name.starts_with(runtime)) static_cast<std::set<std::string>*>(found)->insert(path);
    }
    return 0;
  };
  dl_iterate_phdr(note, &runtimes);
  EXPECT_EQ(runtimes.size(), 1U) << testing::PrintToString(runtimes);
}

TEST(OpenMp, LibtorchsThreadsAreOurs) {
  const int before = at::get_num_threads();
  for (int threads : {3, 1}) {
    at::set_num_threads(threads);
    EXPECT_EQ(omp_get_max_threads(), threads);
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace cmat
