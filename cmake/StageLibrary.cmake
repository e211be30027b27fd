# Lays out what cargo built in FROM as TO/libdcb.so.VERSION with its links, and TO/libdcb.a.
# A file that has not changed is not touched, so that nothing is linked again for it.
#
#   cmake -DVERSION=... -DSONAME=... -DNM=... -DLINKER=... -DOBJCOPY=... -DAR=... -P this FROM TO

math(EXPR last "${CMAKE_ARGC} - 1")
math(EXPR last_but_one "${CMAKE_ARGC} - 2")
set(FROM "${CMAKE_ARGV${last_but_one}}")
set(TO "${CMAKE_ARGV${last}}")

file(MAKE_DIRECTORY "${TO}")
file(COPY_FILE "${FROM}/libdcb.so" "${TO}/libdcb.so.${VERSION}" ONLY_IF_DIFFERENT)
file(CREATE_LINK "libdcb.so.${VERSION}" "${TO}/${SONAME}" SYMBOLIC)
file(CREATE_LINK "${SONAME}" "${TO}/libdcb.so" SYMBOLIC)

# Cargo's archive has every function of Rust's standard library and of SQLite as a symbol that
# others may be bound to: beside another SQLite, a program would get one in place of the other. So
# all of it becomes one object whose only global symbols are those that the shared library exports.
set(stamp "${TO}/libdcb.a.from")
file(TIMESTAMP "${FROM}/libdcb.a" built "%s.%f")
set(was "")
if(EXISTS "${stamp}" AND EXISTS "${TO}/libdcb.a")
    file(READ "${stamp}" was)
endif()
if(was STREQUAL built)
    return()
endif()

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE output)
    set(output "${output}" PARENT_SCOPE)
endfunction()

set(work "${TO}/static")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
run("${NM}" --dynamic --defined-only --format=posix "${FROM}/libdcb.so")
string(REGEX MATCHALL "dcb_[a-z_]+ T" exported "${output}")
list(TRANSFORM exported REPLACE " T$" "")
list(JOIN exported "\n" lines)
file(WRITE "${work}/exported" "${lines}\n")
list(TRANSFORM exported PREPEND "--undefined=")
run("${LINKER}" -r --gc-sections --force-group-allocation ${exported} -o "${work}/all.o"
    "${FROM}/libdcb.a")
# The standard library's sections for link-time optimisation cannot be joined, and confuse tools.
run("${OBJCOPY}" "--keep-global-symbols=${work}/exported" --remove-section=.llvmbc
    --remove-section=.llvmcmd "${work}/all.o" "${work}/dcb.o")
file(REMOVE "${TO}/libdcb.a")
run("${AR}" rcsD "${TO}/libdcb.a" "${work}/dcb.o")
file(REMOVE_RECURSE "${work}")
file(WRITE "${stamp}" "${built}")
