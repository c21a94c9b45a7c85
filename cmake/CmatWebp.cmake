# libwebp as cmat_webp. Debian's package has nothing for find_package.
find_path(CMAT_WEBP_INCLUDE webp/decode.h)
find_library(CMAT_WEBP_LIBRARY webp)
if(NOT CMAT_WEBP_INCLUDE OR NOT CMAT_WEBP_LIBRARY)
  message(FATAL_ERROR "libwebp was not found: run scripts/setup")
endif()
add_library(cmat_webp INTERFACE)
target_include_directories(cmat_webp SYSTEM INTERFACE ${CMAT_WEBP_INCLUDE})
target_link_libraries(cmat_webp INTERFACE ${CMAT_WEBP_LIBRARY})
