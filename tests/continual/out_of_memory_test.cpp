#include "cmat/continual/out_of_memory.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>

#include "cmat/core/error.h"

namespace cmat::continual {
namespace {

template <typename Exception>
std::string explained(const Exception& exception) {
  try {
    try {
      throw exception;
    } catch (const std::exception&) {
      rethrow_explained();
    }
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::failure);
    return e.what();
  } catch (const std::exception&) {
    return "not explained";
  }
}

TEST(OutOfMemoryWords, OfEveryLibraryAreExplained) {
  EXPECT_TRUE(explained(std::bad_alloc()).starts_with("out of memory: free some of it"));
  for (const char* what : {"DefaultCPUAllocator: can't allocate memory: you tried to allocate 8",
                           "DefaultCPUAllocator: not enough memory: you tried to allocate 8"}) {
    EXPECT_TRUE(explained(std::runtime_error(what)).starts_with("out of memory: ")) << what;
  }
  for (const std::string words : {"could not create a primitive", "could not execute a primitive",
                                  "could not create a memory object"}) {
    const std::string sentence = explained(std::runtime_error(words));
    EXPECT_TRUE(sentence.starts_with("probably out of memory (oneDNN " + words + ")")) << sentence;
  }
}

TEST(OutOfMemoryWords, OtherFailuresStayAsTheyAre) {
  for (const char* what :
       {"could not create a primitive descriptor for a convolution forward propagation primitive",
        "mat1 and mat2 shapes cannot be multiplied"}) {
    EXPECT_EQ(explained(std::runtime_error(what)), "not explained") << what;
  }
}

}  // namespace
}  // namespace cmat::continual
