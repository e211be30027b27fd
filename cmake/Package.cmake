# `cpack`: Debian packages, libdcb0 for programs that are linked, libdcb-dev for those who link, and
# dcb, the command line.
# Configure with -DCMAKE_INSTALL_PREFIX=/usr, so that the library comes to stand where Debian's do.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libdcb)
set(CPACK_PACKAGE_VENDOR "libdcb")
set(CPACK_PACKAGE_CONTACT "The libdcb maintainers <${PROJECT_HOMEPAGE_URL}>")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_STRIP_FILES ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime development)
if(DCB_BUILD_CLI)
    list(APPEND CPACK_COMPONENTS_ALL cli)
endif()
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE "${PROJECT_HOMEPAGE_URL}")

# A library's package is named for its SONAME, so that two of them can be installed at once.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libdcb${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION
    "The shared library, which programs need that were linked with it.")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libdcb-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "${CPACK_DEBIAN_RUNTIME_PACKAGE_NAME} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS nlohmann-json3-dev)
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION
    "The headers for C and C++, the static library, and what CMake and pkg-config need to find them.")

set(CPACK_DEBIAN_CLI_PACKAGE_NAME dcb)
set(CPACK_DEBIAN_CLI_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_CLI_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_CLI_DESCRIPTION
    "The command line, which shows, copies, checks and explores event stores.")

include(CPack)
