#!/usr/bin/env bash
# Makes the Debian packages, installs them in a root that has little else, runs programs there that
# were linked with them, and removes them again.
#
#   debian.sh SOURCE WORK ARGUMENT...     with arguments for CMake
#
# Ends with 77 where there is no dpkg, or no right to change the root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

source=$1
work=$2
shift 2

for tool in cpack dpkg dpkg-shlibdeps chroot; do
    command -v $tool >/dev/null || { echo "there is no $tool"; exit 77; }
done
if ! chroot / true 2>/dev/null; then
    echo "chroot is not permitted"
    exit 77
fi

rm -rf "$work"
mkdir -p "$work"
cmake -G Ninja -S "$source" -B "$work/build" -DCMAKE_INSTALL_PREFIX=/usr -DDCB_BUILD_TESTS=OFF \
    -DDCB_BUILD_EXAMPLES=OFF "$@"
cmake --build "$work/build"
(cd "$work/build" && cpack)

# The least that the packages' scripts and a program need: a shell, ldconfig, the C and C++ libraries.
root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root/etc" "$root"/var/lib/dpkg/{info,updates,triggers}
for name in bin sbin lib lib64; do
    ln -s "usr/$name" "$root/$name"
done
touch "$root/var/lib/dpkg/status"

provide() { # provide FILE...: copies of this system's files
    local file
    for file in "$@"; do
        mkdir -p "$root$(dirname "$file")"
        cp -L -n "$file" "$root$file"
    done
}
needed() { # needed PROGRAM: the system's libraries that it is linked with, and the loader
    ldd "$1" 2>/dev/null | sed -nE '/^[[:space:]]*libdcb\.so/d; s/^([^/]* => |[[:space:]]*)(\/.*) \(0x[0-9a-f]+\)$/\2/p'
}
# shellcheck disable=SC2046
provide /bin/sh $(needed /bin/sh) /sbin/ldconfig $(needed /sbin/ldconfig)

in_root() { dpkg --root="$root" --force-depends "$@"; }
in_root --install "$work"/build/*.deb
pc=$(find "$root/usr" -name dcb.pc)
export PKG_CONFIG_PATH=${pc%/*}
# pkg-config quotes for a shell.
eval "flags=($(pkg-config --cflags --libs dcb))"
cc -o "$root/usr/bin/program-c" "$here/program.c" "${flags[@]}"
c++ -std=c++17 -o "$root/usr/bin/program-cpp" "$here/program.cpp" "${flags[@]}"
echo '#include <dcb_host.h>' | cc -fsyntax-only -x c "${flags[@]}" -
library=$(find "$root/usr" -name 'libdcb.so.?')
if readelf --section-headers "$library" | grep -F .debug_; then
    echo "the package's library is not stripped"
    exit 1
fi
for program in program-c program-cpp; do
    # shellcheck disable=SC2046
    provide $(needed "$root/usr/bin/$program") $(needed "$library")
    chroot "$root" "/usr/bin/$program"
done

# shellcheck disable=SC2046
provide $(needed "$root/usr/bin/dcb")
chroot "$root" /usr/bin/dcb append sqlite:/a.db --type A
[ "$(chroot "$root" /usr/bin/dcb head sqlite:/a.db)" = 1 ]
find "$root/usr" -name 'dcb-import.1*' | grep -q .
in_root --remove dcb

in_root --remove libdcb-dev
chroot "$root" /usr/bin/program-cpp
in_root --remove "$(cd "$work/build" && ls libdcb[0-9]*.deb | sed 's/_.*//')"
left=$(find "$root/usr" "$root/etc" -name '*dcb*')
if [ -n "$left" ]; then
    echo "what the packages have left behind:" "$left"
    exit 1
fi
if chroot "$root" /usr/bin/program-cpp 2>/dev/null; then
    echo "the program was not linked with the library of the package"
    exit 1
fi
