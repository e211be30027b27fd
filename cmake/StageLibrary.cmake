# Lays out what cargo built in FROM as TO/libdcb.so.VERSION with its links, and TO/libdcb.a.
# A file that has not changed is not touched, so that nothing is linked again for it.

file(MAKE_DIRECTORY "${TO}")
file(COPY_FILE "${FROM}/libdcb.so" "${TO}/libdcb.so.${VERSION}" ONLY_IF_DIFFERENT)
file(COPY_FILE "${FROM}/libdcb.a" "${TO}/libdcb.a" ONLY_IF_DIFFERENT)
file(CREATE_LINK "libdcb.so.${VERSION}" "${TO}/${SONAME}" SYMBOLIC)
file(CREATE_LINK "${SONAME}" "${TO}/libdcb.so" SYMBOLIC)
