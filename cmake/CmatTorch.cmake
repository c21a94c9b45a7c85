# libtorch as cmat::torch: from Torch_DIR (the folder of TorchConfig.cmake), from LIBTORCH (a folder
# with lib/ and include/), or from the wheel that scripts/setup puts into .deps/. Each is looked up
# anew at every configure, so that setting a variable later is not ignored.
#
# find_package(Torch) is not used: for a CUDA build it insists on a CUDA toolkit, which nothing here
# needs, since no CUDA code is compiled. Headers are system headers, so that our warnings do not
# apply to them.

set(CMAT_TORCH_ROOT "")
foreach(source Torch_DIR LIBTORCH)
  set(value "${${source}}")
  if(NOT value)
    set(value "$ENV{${source}}")
  endif()
  if(value AND NOT CMAT_TORCH_ROOT)
    if(source STREQUAL "Torch_DIR")
      get_filename_component(value "${value}/../../.." ABSOLUTE)
    endif()
    set(CMAT_TORCH_ROOT "${value}")
  endif()
endforeach()
if(NOT CMAT_TORCH_ROOT)
  file(GLOB CMAT_TORCH_ROOT ${PROJECT_SOURCE_DIR}/.deps/python/lib/python3*/site-packages/torch)
endif()
if(NOT CMAT_TORCH_ROOT OR NOT EXISTS "${CMAT_TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "libtorch was not found at \"${CMAT_TORCH_ROOT}\": run scripts/setup, or set LIBTORCH or Torch_DIR")
endif()
message(STATUS "libtorch: ${CMAT_TORCH_ROOT}")

add_library(cmat_torch INTERFACE)
add_library(cmat::torch ALIAS cmat_torch)
target_include_directories(cmat_torch SYSTEM INTERFACE ${CMAT_TORCH_ROOT}/include
                                                       ${CMAT_TORCH_ROOT}/include/torch/csrc/api/include)
target_link_directories(cmat_torch INTERFACE ${CMAT_TORCH_ROOT}/lib)
target_link_libraries(cmat_torch INTERFACE torch_cpu c10)
if(EXISTS "${CMAT_TORCH_ROOT}/lib/libtorch_cuda.so")
  # Nothing refers to it by name: it registers its kernels when it is loaded.
  target_link_libraries(cmat_torch INTERFACE -Wl,--no-as-needed torch_cuda c10_cuda -Wl,--as-needed)
  target_link_options(cmat_torch INTERFACE -Wl,--allow-shlib-undefined)
endif()
target_link_options(cmat_torch INTERFACE -Wl,-rpath,${CMAT_TORCH_ROOT}/lib)

# at::parallel_for is compiled into who calls it, so everything that includes libtorch is compiled with
# OpenMP. A process must have one OpenMP runtime, else the number of threads that libtorch is told
# would not be ours: we link the one that the wheel brings along, if it does.
file(GLOB CMAT_TORCH_OPENMP ${CMAT_TORCH_ROOT}/lib/libgomp*.so*)
if(CMAT_TORCH_OPENMP)
  list(GET CMAT_TORCH_OPENMP 0 CMAT_TORCH_OPENMP)
  set(OpenMP_gomp_LIBRARY ${CMAT_TORCH_OPENMP} CACHE FILEPATH "The OpenMP runtime" FORCE)
else()
  unset(OpenMP_gomp_LIBRARY CACHE)  # what FindOpenMP finds
endif()
find_package(OpenMP REQUIRED COMPONENTS CXX)
target_link_libraries(cmat_torch INTERFACE OpenMP::OpenMP_CXX)
# The wheels since 2.6 are built with the C++11 ABI, as GCC's default is.
target_compile_definitions(cmat_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
