# The runtime's source files, for any build: agent/runtime/CMakeLists.txt, firmware templates, fuzzers.
get_filename_component(HARDTACK_CSRC "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(HARDTACK_INCLUDE "${HARDTACK_CSRC}/include")
file(GLOB HARDTACK_SOURCES CONFIGURE_DEPENDS
     "${HARDTACK_CSRC}/src/*.c" "${HARDTACK_CSRC}/src/kernels/*.c")
