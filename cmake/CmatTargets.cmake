# Helpers that give every target of the project the same include root, warnings and sanitizers.

find_program(CMAT_CCACHE ccache)
if(CMAT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAT_CCACHE})
  if(CMAT_PRECOMPILED)
    # What ccache asks for where headers are precompiled.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CMAT_CCACHE})
    add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  endif()
endif()

# Nothing of libtorch is compiled into these (tests/layering_test.py).
set(CMAT_WITHOUT_TORCH core data report compare app)

add_library(cmat_flags INTERFACE)
target_include_directories(cmat_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
# Most of compiling a file that uses libtorch goes into its headers, so six files are compiled as one, which
# takes a third of the time of all six. The names at the top of the files of one folder have to differ then.
option(CMAT_UNITY "Compile several files at once" ON)

target_compile_options(cmat_flags INTERFACE -Wall -Wextra -Wpedantic -Wnon-virtual-dtor)
# A local name that hides one at the top of another file of the six is no mistake.
target_compile_options(cmat_flags INTERFACE
  -Wshadow$<$<AND:$<BOOL:${CMAT_UNITY}>,$<CXX_COMPILER_ID:GNU>>:=local>)
# GCC 12 reports false overlaps on string concatenation (GCC bug 105651), and with a precompiled header
# false overflows.
target_compile_options(cmat_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:${CMAT_PRECOMPILED}>>:-Wno-stringop-overflow;-Wno-array-bounds>)
if(CMAT_WERROR)
  target_compile_options(cmat_flags INTERFACE -Werror)
endif()
# Two builds of the same source must round alike: no fused multiply-add unless it is asked for.
target_compile_options(cmat_flags INTERFACE -ffp-contract=off)
if(CMAT_SANITIZE STREQUAL "address")
  target_compile_options(cmat_flags INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer
                                              -fno-sanitize-recover=undefined)
  # Address sanitizing reports every access through a null pointer; checking each pointer for it
  # beforehand costs a fifth of compiling.
  target_compile_options(cmat_flags INTERFACE -fno-sanitize=null)
  target_link_options(cmat_flags INTERFACE -fsanitize=address,undefined)
  target_compile_definitions(cmat_flags INTERFACE CMAT_SANITIZED)
elseif(CMAT_SANITIZE STREQUAL "thread")
  target_compile_options(cmat_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(cmat_flags INTERFACE -fsanitize=thread)
  target_compile_definitions(cmat_flags INTERFACE CMAT_SANITIZED)
elseif(CMAT_SANITIZE)
  message(FATAL_ERROR "CMAT_SANITIZE is \"${CMAT_SANITIZE}\", but must be address, thread or empty")
endif()

# The parsers tell the fuzzer which branches an input reached (tests/fuzz/coverage.h). Other programs
# take the empty function of this library.
if(CMAT_SANITIZE STREQUAL "address")
  add_library(cmat_no_coverage STATIC ${PROJECT_SOURCE_DIR}/tests/fuzz/no_coverage.cpp)
endif()
function(cmat_fuzzed target)
  if(CMAT_SANITIZE STREQUAL "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fsanitize-coverage=trace-pc)
    target_link_libraries(${target} PUBLIC cmat_no_coverage)
  endif()
endfunction()

# Precompiled headers of libtorch save about a third of compiling, but take 400 MB each, are made anew
# wherever a header of libtorch changes, and hide a missing #include; so the debug build has none.
# cmat_precompile_torch(NAME OPTIONS ... LIBRARIES ... HEADERS ...): makes one, with options, and headers
# of further libraries, that all its users have in common.
function(cmat_precompile_torch name)
  cmake_parse_arguments(ARG "" "" "OPTIONS;LIBRARIES;HEADERS" ${ARGN})
  if(TARGET ${name})
    return()
  endif()
  file(WRITE ${PROJECT_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE cmat_flags cmat::torch ${ARG_LIBRARIES})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(${name} PRIVATE
    <ATen/core/Tensor.h> <ATen/Functions.h> <ATen/TensorOperators.h> <nlohmann/json.hpp> ${ARG_HEADERS})
endfunction()
function(cmat_reuse_precompiled target header)
  target_precompile_headers(${target} REUSE_FROM ${header})
  # A file with compile options of its own reads the headers as text.
  set_target_properties(${target} PROPERTIES PCH_WARN_INVALID OFF)
endfunction()
function(cmat_precompiled target)
  if(CMAT_PRECOMPILED)
    cmat_precompile_torch(cmat_torch_header)
    cmat_reuse_precompiled(${target} cmat_torch_header)
  endif()
endfunction()

# cmat_unity(RESULT TARGET ROOT FILE...): RESULT becomes the files to compile instead of these. CMake's own
# UNITY_BUILD writes absolute paths, with which ccache finds nothing of another clone; these are relative to
# the include folder ROOT.
function(cmat_unity result target root)
  if(NOT CMAT_UNITY)
    set(${result} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  set(files)
  set(number 0)
  while(ARGN)
    list(SUBLIST ARGN 0 6 six)
    list(REMOVE_ITEM ARGN ${six})
    set(includes)
    foreach(file ${six})
      file(RELATIVE_PATH file ${root} ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      string(APPEND includes "#include \"${file}\"\n")
    endforeach()
    set(file ${CMAKE_CURRENT_BINARY_DIR}/${target}_unity_${number}.cpp)
    file(CONFIGURE OUTPUT ${file} CONTENT "${includes}" @ONLY)  # only when it differs
    list(APPEND files ${file})
    math(EXPR number "${number} + 1")
  endwhile()
  set(${result} ${files} PARENT_SCOPE)
endfunction()

# cmat_library(core SOURCES a.cpp b.cpp DEPENDS cmat::x PRIVATE_DEPENDS y): built where a program needs it.
# ALONE c.cpp: those of the sources that have to be compiled on their own.
function(cmat_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;ALONE;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  cmat_unity(ARG_SOURCES cmat_${name} ${PROJECT_SOURCE_DIR}/src ${ARG_SOURCES})
  add_library(cmat_${name} STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES} ${ARG_ALONE})
  add_library(cmat::${name} ALIAS cmat_${name})
  target_link_libraries(cmat_${name} PUBLIC ${ARG_DEPENDS} PRIVATE cmat_flags ${ARG_PRIVATE_DEPENDS})
  target_include_directories(cmat_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  if(NOT name IN_LIST CMAT_WITHOUT_TORCH)
    cmat_precompiled(cmat_${name})
  endif()
endfunction()

# Tests are compiled with -O1 in the release build, which saves a quarter of compiling them, and without
# the check of each pointer's alignment in the sanitized one, which saves a fifth; what they test is
# compiled as it is shipped, and with every check.
set(CMAT_TEST_OPTIONS $<$<CONFIG:Release>:-O1>)
if(CMAT_SANITIZE STREQUAL "address")
  list(APPEND CMAT_TEST_OPTIONS -fno-sanitize=alignment)
endif()
function(cmat_precompiled_test target)
  if(CMAT_PRECOMPILED)
    cmat_precompile_torch(cmat_torch_test_header OPTIONS ${CMAT_TEST_OPTIONS}
      LIBRARIES GTest::gtest HEADERS <gtest/gtest.h>)
    cmat_reuse_precompiled(${target} cmat_torch_test_header)
  endif()
endfunction()

# cmat_test(core SOURCES a_test.cpp DEPENDS cmat::core): one program a folder, one ctest entry a case.
# THREADED b_test.cpp: those of the sources whose code starts threads, which is all that
# ThreadSanitizer can say something about; its build has no others.
# RUNS cmat: the tests start this program, whose path they find in CMAT_PROGRAM.
function(cmat_test name)
  cmake_parse_arguments(ARG "" "RUNS" "SOURCES;DEPENDS;THREADED" ${ARGN})
  if(CMAT_SANITIZE STREQUAL "thread")
    if(NOT ARG_THREADED)
      return()
    endif()
    set(ARG_SOURCES ${ARG_THREADED})
  endif()
  cmat_unity(ARG_SOURCES ${name}_test ${PROJECT_SOURCE_DIR}/tests ${ARG_SOURCES})
  add_executable(${name}_test ${ARG_SOURCES})
  target_compile_options(${name}_test PRIVATE ${CMAT_TEST_OPTIONS})
  target_link_libraries(${name}_test PRIVATE cmat_flags ${ARG_DEPENDS} GTest::gtest_main)
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  set(program)
  if(ARG_RUNS)
    set(program ENVIRONMENT_MODIFICATION "CMAT_PROGRAM=set:$<TARGET_FILE:${ARG_RUNS}>")
    add_dependencies(${name}_test ${ARG_RUNS})
  endif()
  set(label)
  if(NOT name IN_LIST CMAT_WITHOUT_TORCH)
    cmat_precompiled_test(${name}_test)
    target_sources(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests/seed_each_test.cpp)
    # Starting a program with libtorch takes half a second, more than most cases, so all cases of one in one
    # process are the quick way to run them (ctest --preset release-programs).
    add_test(NAME ${name}_test COMMAND ${name}_test --gtest_brief=1)
    set_tests_properties(${name}_test PROPERTIES TIMEOUT 1200 COST 100 LABELS program
      ENVIRONMENT "CMAT_SOURCE_DIR=${PROJECT_SOURCE_DIR}" ${program})
    if(CMAT_SANITIZE)
      return()
    endif()
    set(label LABELS case)
  endif()
  # Two properties, since gtest_discover_tests cuts a list of variables after the first.
  gtest_discover_tests(${name}_test NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300 ${label}
    ENVIRONMENT "CMAT_SOURCE_DIR=${PROJECT_SOURCE_DIR}" ${program})
endfunction()
