# `cmake --install`: the library, its headers, and how pkg-config and CMake find them.
# Everything is found relative to where it stands, so the installation may be moved as a whole.
#
# Component `runtime` is what a program needs that was linked; `development` is the rest.

include(CMakePackageConfigHelpers)

install(FILES "${dcb_shared}" "${dcb_lib_dir}/${dcb_soname}" DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        COMPONENT runtime)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE-MIT" "${PROJECT_SOURCE_DIR}/LICENSE-APACHE"
        DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/libdcb${PROJECT_VERSION_MAJOR}"
        COMPONENT runtime)
install(FILES "${dcb_lib_dir}/libdcb.so" "${dcb_static}" DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        COMPONENT development)
# CMake strips what it has linked itself; cargo has linked these.
foreach(file "runtime --strip-unneeded libdcb.so.${PROJECT_VERSION}" "development --strip-debug libdcb.a")
    separate_arguments(file)
    list(POP_FRONT file component how name)
    install(
        CODE "if(CMAKE_INSTALL_DO_STRIP)
    set(file \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/${name}\")
    execute_process(COMMAND \"${CMAKE_STRIP}\" ${how} \"\${file}\" COMMAND_ERROR_IS_FATAL ANY)
endif()"
        COMPONENT ${component})
endforeach()
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" "${PROJECT_SOURCE_DIR}/bindings/cpp/include/"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)

install(FILES "${CMAKE_CURRENT_LIST_DIR}/tsan.supp" DESTINATION "${CMAKE_INSTALL_DATADIR}/dcb"
        COMPONENT development)

# From lib/pkgconfig to the prefix, however deep CMAKE_INSTALL_LIBDIR is.
set(dcb_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH dcb_pc_to_prefix "/${dcb_pc_dir}" "/")
string(REGEX REPLACE "/$" "" dcb_pc_to_prefix "${dcb_pc_to_prefix}")
set(dcb_pc_prefix "\${pcfiledir}/${dcb_pc_to_prefix}")
set(dcb_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(dcb_pc_cflags "-I\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
set(dcb_pc_libs "-L\${libdir} -ldcb")
configure_file("${CMAKE_CURRENT_LIST_DIR}/dcb.pc.in" "${PROJECT_BINARY_DIR}/install/dcb.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/install/dcb.pc" DESTINATION "${dcb_pc_dir}"
        COMPONENT development)

set(dcb_config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/dcb")
configure_package_config_file(
    "${CMAKE_CURRENT_LIST_DIR}/dcb-config.cmake.in" "${PROJECT_BINARY_DIR}/install/dcb-config.cmake"
    INSTALL_DESTINATION "${dcb_config_dir}"
    PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR
    NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0, what is added comes with a new minor version, and so does what breaks.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/install/dcb-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/install/dcb-config.cmake"
              "${PROJECT_BINARY_DIR}/install/dcb-config-version.cmake"
        DESTINATION "${dcb_config_dir}" COMPONENT development)
