# The library as cargo builds it, laid out in ${PROJECT_BINARY_DIR} as an installation would be:
#
#   lib/libdcb.so.X.Y.Z, its links, lib/libdcb.a    dcb.pc
#
# Cargo alone knows what is stale, so the build always asks it.

find_program(CARGO cargo REQUIRED)
find_package(Threads REQUIRED)

set(DCB_CARGO_TARGET_DIR
    "${PROJECT_BINARY_DIR}/cargo"
    CACHE PATH "Where cargo builds")
option(DCB_SYSTEM_SQLITE "Link the system's SQLite instead of the bundled one" OFF)
option(DCB_POSTGRES "Build the stores in PostgreSQL in" ON)
set(dcb_least_sqlite 3.45.3) # rusqlite calls functions that older ones do not have
set(dcb_sqlite_target "")
set(dcb_pc_requires "")
if(DCB_SYSTEM_SQLITE)
    set(dcb_sqlite_target SQLite::SQLite3)
    set(dcb_pc_requires "sqlite3 >= ${dcb_least_sqlite}")
    find_package(SQLite3 ${dcb_least_sqlite} REQUIRED)
    set_target_properties(SQLite::SQLite3 PROPERTIES IMPORTED_GLOBAL TRUE)
endif()

if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    set(dcb_cargo_profile dev)
    set(dcb_cargo_output debug)
else()
    set(dcb_cargo_profile release)
    set(dcb_cargo_output release)
endif()
# Nothing where all features are cargo's own defaults, with which the tests build too.
set(dcb_cargo_features "")
if(DCB_SYSTEM_SQLITE OR NOT DCB_POSTGRES)
    set(dcb_cargo_features --no-default-features)
    if(NOT DCB_SYSTEM_SQLITE)
        list(APPEND dcb_cargo_features --features bundled-sqlite)
    endif()
    if(DCB_POSTGRES)
        list(APPEND dcb_cargo_features --features postgres-tls)
    endif()
endif()

# What a command needs to run cargo on this source. Cargo reads .cargo/config.toml, and with it
# SQLite's compile-time options, from its working directory: always run it in PROJECT_SOURCE_DIR.
set(DCB_CARGO ${CMAKE_COMMAND} -E env "CARGO_TARGET_DIR=${DCB_CARGO_TARGET_DIR}" ${CARGO})

set(dcb_lib_dir "${PROJECT_BINARY_DIR}/lib")
set(dcb_soname "libdcb.so.${PROJECT_VERSION_MAJOR}")
set(dcb_shared "${dcb_lib_dir}/libdcb.so.${PROJECT_VERSION}")
set(dcb_static "${dcb_lib_dir}/libdcb.a")

# Followed by a folder that cargo built into, and the folder in which to lay that out.
set(DCB_STAGE_LIBRARY
    ${CMAKE_COMMAND} -DVERSION=${PROJECT_VERSION} -DSONAME=${dcb_soname} "-DNM=${CMAKE_NM}"
    "-DLINKER=${CMAKE_LINKER}" "-DOBJCOPY=${CMAKE_OBJCOPY}" "-DAR=${CMAKE_AR}" -P
    "${CMAKE_CURRENT_LIST_DIR}/StageLibrary.cmake")

add_custom_target(
    dcb_library ALL
    COMMAND ${DCB_CARGO} build --locked --lib --profile ${dcb_cargo_profile}
            ${dcb_cargo_features}
    COMMAND ${DCB_STAGE_LIBRARY} "${DCB_CARGO_TARGET_DIR}/${dcb_cargo_output}" "${dcb_lib_dir}"
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    BYPRODUCTS "${dcb_shared}" "${dcb_lib_dir}/${dcb_soname}" "${dcb_lib_dir}/libdcb.so"
               "${dcb_static}"
    COMMENT "Building the library with cargo"
    USES_TERMINAL VERBATIM COMMAND_EXPAND_LISTS)

# The system's libraries that Rust's standard library calls, as rustc reports them
# (--print native-static-libs): what a program that links libdcb.a has to name. Where rustc names
# gcc_s, the unwinder as a shared library, the static one stands here: so the program needs no
# libgcc_s.so, and can be linked with -static.
set(DCB_STATIC_LINK_LIBRARIES gcc_eh gcc util rt pthread m dl c)
set(dcb_static_needs ${dcb_sqlite_target} ${DCB_STATIC_LINK_LIBRARIES})

add_library(dcb::shared SHARED IMPORTED GLOBAL)
set_target_properties(dcb::shared PROPERTIES IMPORTED_LOCATION "${dcb_shared}"
                                             IMPORTED_SONAME "${dcb_soname}")

add_library(dcb::static STATIC IMPORTED GLOBAL)
set_target_properties(
    dcb::static PROPERTIES IMPORTED_LOCATION "${dcb_static}"
                           INTERFACE_LINK_LIBRARIES "${dcb_static_needs}")

set(dcb_include_dirs "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/bindings/cpp/include")
foreach(library dcb::shared dcb::static)
    add_dependencies(${library} dcb_library)
    target_include_directories(${library} INTERFACE ${dcb_include_dirs})
endforeach()

# dcb::dcb follows CMake's own switch, and is shared unless that says otherwise.
add_library(dcb::dcb INTERFACE IMPORTED GLOBAL)
if(DEFINED BUILD_SHARED_LIBS AND NOT BUILD_SHARED_LIBS)
    target_link_libraries(dcb::dcb INTERFACE dcb::static)
else()
    target_link_libraries(dcb::dcb INTERFACE dcb::shared)
endif()

# With PKG_CONFIG_PATH set to the build folder, cgo and any other user of pkg-config finds this
# library with nothing installed. The run path is the build tree's only.
list(TRANSFORM DCB_STATIC_LINK_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE dcb_pc_libs_private)
list(JOIN dcb_pc_libs_private " " dcb_pc_libs_private)
# It splits what it prints where a blank is not escaped.
list(TRANSFORM dcb_include_dirs PREPEND "-I" OUTPUT_VARIABLE dcb_pc_cflags)
string(REPLACE " " "\\ " dcb_pc_cflags "${dcb_pc_cflags}")
list(JOIN dcb_pc_cflags " " dcb_pc_cflags)
string(REPLACE " " "\\ " dcb_pc_prefix "${PROJECT_BINARY_DIR}")
string(REPLACE " " "\\ " dcb_pc_libdir "${dcb_lib_dir}")
set(dcb_pc_libs "-L\${libdir} -Wl,-rpath,\${libdir} -ldcb")
configure_file("${CMAKE_CURRENT_LIST_DIR}/dcb.pc.in" "${PROJECT_BINARY_DIR}/dcb.pc" @ONLY)

# What go needs to find this build. Its cache knows neither what pkg-config says nor what the header
# holds. A file that the package has only here, by an overlay, names both: so the package is
# compiled anew for another build, and nothing else is, least of all a driver's whole SQLite.
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS include/dcb.h
                                                               include/dcb_host.h)
file(SHA256 "${PROJECT_SOURCE_DIR}/include/dcb.h" dcb_header_hash)
file(SHA256 "${PROJECT_SOURCE_DIR}/include/dcb_host.h" dcb_host_header_hash)
string(SHA256 dcb_header_hash "${dcb_header_hash}${dcb_host_header_hash}")
set(dcb_go_build "${PROJECT_BINARY_DIR}/go/build.go")
set(DCB_GO_OVERLAY "${PROJECT_BINARY_DIR}/go/overlay.json")
set(dcb_go_added "${PROJECT_SOURCE_DIR}/bindings/go/build.go")
file(CONFIGURE OUTPUT "${dcb_go_build}" @ONLY
     CONTENT "package dcb\n\n// Built with @dcb_lib_dir@ and the header @dcb_header_hash@.\n")
file(CONFIGURE OUTPUT "${DCB_GO_OVERLAY}" @ONLY
     CONTENT "{\"Replace\": {\"@dcb_go_added@\": \"@dcb_go_build@\"}}\n")
if(dcb_cargo_profile STREQUAL "dev")
    set(dcb_go_cflags -O1) # compiles a driver's SQLite in half the time
else()
    set(dcb_go_cflags -O2)
endif()
set(DCB_GO_ENVIRONMENT CGO_ENABLED=1 "PKG_CONFIG_PATH=${PROJECT_BINARY_DIR}" CGO_CFLAGS=${dcb_go_cflags})
