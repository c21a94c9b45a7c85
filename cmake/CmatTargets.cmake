# Helpers that give every target of the project the same include root, warnings and sanitizers.

find_program(CMAT_CCACHE ccache)
if(CMAT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAT_CCACHE})
endif()

add_library(cmat_flags INTERFACE)
target_include_directories(cmat_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(cmat_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
# GCC 12 reports a false -Wrestrict on string concatenation (GCC bug 105651).
target_compile_options(cmat_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
if(CMAT_WERROR)
  target_compile_options(cmat_flags INTERFACE -Werror)
endif()
# Two builds of the same source must round alike: no fused multiply-add unless it is asked for.
target_compile_options(cmat_flags INTERFACE -ffp-contract=off)
if(CMAT_SANITIZE)
  target_compile_options(cmat_flags INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer
                                              -fno-sanitize-recover=undefined)
  target_link_options(cmat_flags INTERFACE -fsanitize=address,undefined)
  target_compile_definitions(cmat_flags INTERFACE CMAT_SANITIZED)
endif()

# cmat_library(core SOURCES a.cpp b.cpp DEPENDS cmat::x PRIVATE_DEPENDS y)
function(cmat_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(cmat_${name} STATIC ${ARG_SOURCES})
  add_library(cmat::${name} ALIAS cmat_${name})
  target_link_libraries(cmat_${name} PUBLIC ${ARG_DEPENDS} PRIVATE cmat_flags ${ARG_PRIVATE_DEPENDS})
  target_include_directories(cmat_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
endfunction()

# cmat_test(core SOURCES a_test.cpp DEPENDS cmat::core): one program a folder, one ctest entry a case.
function(cmat_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name}_test ${ARG_SOURCES})
  target_link_libraries(${name}_test PRIVATE cmat_flags ${ARG_DEPENDS} GTest::gtest_main)
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  # Two properties, since gtest_discover_tests cuts a list of variables after the first.
  gtest_discover_tests(${name}_test NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300
    ENVIRONMENT "CMAT_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    ENVIRONMENT_MODIFICATION "CMAT_PROGRAM=set:$<TARGET_FILE:cmat>")
endfunction()
