# The library as others use it: installed, moved, found and linked in each way.

if(NOT DCB_INSTALL)
    return()
endif()

set(consumers_dir "${CMAKE_CURRENT_BINARY_DIR}/consumers")
set(consumers_prefix "${consumers_dir}/prefix")
set(consumers_run "${CMAKE_CURRENT_LIST_DIR}/run")

add_check(consumer-install "${consumers_run}" install "${PROJECT_BINARY_DIR}" "${consumers_prefix}")
set_tests_properties(consumer-install PROPERTIES FIXTURES_SETUP installed)

set(consumers_ways find-package pkg-config go tsan)
if(NOT DCB_SYSTEM_SQLITE)
    list(APPEND consumers_ways beside-sqlite)
endif()
foreach(way IN LISTS consumers_ways)
    add_check(consumer-${way} "${consumers_run}" ${way} "${consumers_prefix}" "${consumers_dir}/${way}")
    set_tests_properties(consumer-${way} PROPERTIES FIXTURES_REQUIRED installed SKIP_RETURN_CODE 77)
endforeach()

set_tests_properties(consumer-go PROPERTIES ENVIRONMENT "${DCB_GO_ENVIRONMENT}")

# Skipped where cargo-c is not installed, which takes a quarter of an hour to build.
add_check(consumer-cargo-c ${CMAKE_COMMAND} -E env "CARGO_TARGET_DIR=${DCB_CARGO_TARGET_DIR}" --
          "${consumers_run}" cargo-c "${consumers_prefix}" "${consumers_dir}/cargo-c" "${dcb_root}"
          --profile ${dcb_cargo_profile} ${dcb_cargo_features})
set_tests_properties(
    consumer-cargo-c PROPERTIES FIXTURES_REQUIRED installed RESOURCE_LOCK cargo SKIP_RETURN_CODE 77
                                TIMEOUT 2400)

# It shares this build's cargo folder: what it tests is CMake's part.
add_check(consumer-add-subdirectory "${consumers_run}" add-subdirectory "${dcb_root}"
          "${consumers_dir}/add-subdirectory" "-DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}"
          "-DDCB_CARGO_TARGET_DIR=${DCB_CARGO_TARGET_DIR}" "-DDCB_SYSTEM_SQLITE=${DCB_SYSTEM_SQLITE}")
set_tests_properties(consumer-add-subdirectory PROPERTIES RESOURCE_LOCK cargo)

add_check(consumer-debian "${CMAKE_CURRENT_LIST_DIR}/debian.sh" "${dcb_root}"
          "${consumers_dir}/debian" "-DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}"
          "-DDCB_CARGO_TARGET_DIR=${DCB_CARGO_TARGET_DIR}" "-DDCB_SYSTEM_SQLITE=${DCB_SYSTEM_SQLITE}")
set_tests_properties(consumer-debian PROPERTIES RESOURCE_LOCK cargo SKIP_RETURN_CODE 77)

add_check(consumer-system-sqlite "${consumers_run}" system-sqlite "${dcb_root}"
          "${consumers_dir}/system-sqlite" "${dcb_least_sqlite}")
set_tests_properties(consumer-system-sqlite PROPERTIES RESOURCE_LOCK cargo SKIP_RETURN_CODE 77)
