# The command line: `dcb`, its manual pages, and its completions for shells.

set(dcb_cli_dir "${PROJECT_BINARY_DIR}/cli")
set(dcb_cli "${dcb_cli_dir}/dcb")

add_custom_target(
    dcb_cli ALL
    COMMAND ${DCB_CARGO} build --locked -p dcb-cli --bin dcb --profile ${dcb_cargo_profile}
    COMMAND ${CMAKE_COMMAND} -E make_directory "${dcb_cli_dir}"
    COMMAND ${CMAKE_COMMAND} -E copy_if_different "${DCB_CARGO_TARGET_DIR}/${dcb_cargo_output}/dcb"
            "${dcb_cli}"
    COMMAND "${dcb_cli}" manual "${dcb_cli_dir}/man"
    COMMAND "${dcb_cli}" completions bash > "${dcb_cli_dir}/dcb.bash"
    COMMAND "${dcb_cli}" completions zsh > "${dcb_cli_dir}/_dcb"
    COMMAND "${dcb_cli}" completions fish > "${dcb_cli_dir}/dcb.fish"
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    BYPRODUCTS "${dcb_cli}"
    COMMENT "Building the command line with cargo"
    USES_TERMINAL VERBATIM COMMAND_EXPAND_LISTS)
# Cargo lets one build at a time into its folder.
add_dependencies(dcb_cli dcb_library)

if(DCB_INSTALL)
    install(PROGRAMS "${dcb_cli}" DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT cli)
    install(DIRECTORY "${dcb_cli_dir}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT cli)
    install(FILES "${dcb_cli_dir}/dcb.bash" RENAME dcb
            DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" COMPONENT cli)
    install(FILES "${dcb_cli_dir}/_dcb" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions"
            COMPONENT cli)
    install(FILES "${dcb_cli_dir}/dcb.fish"
            DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d" COMPONENT cli)
    # CMake strips what it has linked itself.
    install(
        CODE "if(CMAKE_INSTALL_DO_STRIP)
    set(file \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/dcb\")
    execute_process(COMMAND \"${CMAKE_STRIP}\" \"\${file}\" COMMAND_ERROR_IS_FATAL ANY)
endif()"
        COMPONENT cli)
endif()
