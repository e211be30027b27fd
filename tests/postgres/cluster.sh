#!/usr/bin/env bash
# A PostgreSQL server for one test: made in a new folder, stopped and removed when the test ends,
# however it ends.
#
#   cluster.sh [--pooler] [-c NAME=VALUE]... run COMMAND...   runs COMMAND with the server's URI in DCB_POSTGRES_URI
#   cluster.sh [-c NAME=VALUE]... try COMMAND...   the same, but runs it without a server where none can be had
#   cluster.sh [--pooler] [-c NAME=VALUE]... serve   says where the server is, and obeys standard input
#   cluster.sh --keep FOLDER ... run|serve ...     takes the cluster in FOLDER, or makes it, and only stops it at the end
#   cluster.sh versions                            lists the folders of the servers that were found
#
# -c sets a parameter of the server. With --pooler, the URI leads to a PgBouncer in transaction mode
# before it, and where there is none, the script ends with 77. DCB_POSTGRES_BIN names the folder
# of the server to take, else it is the newest of the system's, or the one that fetch.sh has fetched.
# If DCB_POSTGRES_URI is set, `run` and `try` use that server and start none.
#
# `serve` prints lines `name=value` and then `ready`, and answers each line of its input by `done` or
# `failed`:
#
#   start                    starts the server, if it is stopped, on the same port
#   stop fast|immediate      stops it
#   kill                     kills all of its processes at once, as a power failure would
#   sql TEXT                 runs a statement as the superuser, in the database dcb
#   backup                   takes a base backup
#   restore                  stops the server, and starts it with the files of that backup
#   standby start|stop       starts a standby, whose port is in the file standby.port, or stops it
#   standby pause|resume     has it wait before it replays more, or go on
#
# At the end of its input, as when the process that writes it dies, the cluster is removed.
#
# PostgreSQL does not run as root: then the server's user is nobody. Ends with 77 where no server can
# be had, which ctest reports as skipped.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# watch PROCESS FOLDER [keep]: removes or stops the cluster when the process that made it was killed.
if [ "${1:-}" = watch ]; then
    while kill -0 "$2" 2>/dev/null; do
        sleep 1
    done
    if [ -n "${4:-}" ]; then
        # Meanwhile it may be another process's.
        [ "$(cat "$3/owner" 2>/dev/null)" != "$2" ] ||
            kill -INT $(head -qn 1 "$3/data/postmaster.pid" 2>/dev/null) 2>/dev/null || true
    elif [ -d "$3" ]; then
        [ ! -e "$3/pooler.pid" ] || kill "$(cat "$3/pooler.pid")" 2>/dev/null || true
        kill -QUIT $(head -qn 1 "$3"/{data,standby}/postmaster.pid 2>/dev/null) 2>/dev/null || true
        sleep 1
        rm -rf "$3"
    fi
    exit
fi

has_pooler=
if [ "${1:-}" = --pooler ]; then
    has_pooler=1
    shift
fi
keep=
if [ "${1:-}" = --keep ]; then
    keep=$2
    shift 2
fi
settings=()
while [ "${1:-}" = -c ]; do
    settings+=("$2")
    shift 2
done
mode=${1:?run, try, serve or versions}
shift

case $mode in
versions)
    versions
    exit
    ;;
run | try)
    if [ -n "${DCB_POSTGRES_URI:-}" ] && [ -z "$has_pooler" ]; then
        exec "$@"
    fi
    ;;
serve) ;;
*)
    say "$0: run, try, serve or versions, not $mode"
    exit 2
    ;;
esac

found=$(versions)
bin=${DCB_POSTGRES_BIN:-${found%%$'\n'*}}
if [ ! -x "$bin/initdb" ]; then
    say "SKIPPED: THERE IS NO POSTGRESQL SERVER HERE (apt install postgresql, or set DCB_POSTGRES_URI)"
    [ "$mode" != try ] || exec "$@"
    exit 77
fi

pooler=$(PATH=$PATH:/usr/sbin command -v pgbouncer || true)
if [ -n "$has_pooler" ] && [ -z "$pooler" ]; then
    say "SKIPPED: THERE IS NO PGBOUNCER HERE (apt install pgbouncer)"
    exit 77
fi

if [ -n "$keep" ]; then
    mkdir -p "$keep"
    folder=$(cd "$keep" && pwd)
    chmod 755 "$folder"
    [ "$(id -u)" != 0 ] || chown nobody "$folder"
    if kill -0 "$(head -qn 1 "$folder/data/postmaster.pid" 2>/dev/null || echo none)" 2>/dev/null; then
        say "$0: the cluster in $folder is in use"
        exit 1
    fi
    # What a run left behind that was cut off: a standby, and that commits wait for it.
    rm -rf "$folder/log" "$folder"/standby*
    [ ! -e "$folder/data/postgresql.auto.conf" ] || : >"$folder/data/postgresql.auto.conf"
    echo $$ >"$folder/owner"
else
    make_folder dcb-pg
fi
data=$folder/data

clean_up() {
    trap '' HUP INT TERM
    [ ! -e "$folder/standby" ] || kill_all "$folder/standby"
    [ ! -e "$folder/pooler.pid" ] || kill "$(cat "$folder/pooler.pid")" 2>/dev/null || true
    if [ -n "$keep" ]; then
        as_server "$bin/pg_ctl" -D "$data" -s -w -t 600 -m fast stop >/dev/null 2>&1 || true
        rm -f "$folder/owner"
        return
    fi
    as_server "$bin/pg_ctl" -D "$data" -s -w -m immediate stop >/dev/null 2>&1 || kill_all "$data"
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
# What ctest kills has no time to clean up.
(setsid "$0" watch $$ "$folder" ${keep:+keep} </dev/null >/dev/null 2>&1 &)

is_new=
if [ ! -e "$data/PG_VERSION" ]; then
    is_new=1
    as_server mkdir "$data"
    as_server "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1 || {
        cat "$folder/initdb.log" >&2
        exit 1
    }
    echo "include 'test.conf'" | as_server tee -a "$data/postgresql.conf" >/dev/null
fi

# A certificate for localhost, and the authority that signed it; another authority, which did not;
# and a certificate for the role dcb.
certificates() {
    cd "$folder"
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    local name
    for name in authority other; do
        openssl req -x509 "${key[@]}" -days 30 -subj "/CN=$name" -keyout "$name.key" -out "$name.crt"
    done
    signed() {
        openssl req "${key[@]}" -subj "/CN=$2" -keyout "$1.key" -out "$1.csr"
        openssl x509 -req -in "$1.csr" -CA authority.crt -CAkey authority.key -set_serial "$3" -days 30 \
            -extfile <(printf '%s\n' "$4") -out "$1.crt"
    }
    signed server localhost 1 'subjectAltName=DNS:localhost,IP:127.0.0.1'
    signed client dcb 2 'extendedKeyUsage=clientAuth'
    chmod 600 ./*.key
    [ "$(id -u)" != 0 ] || chown nobody server.key
}
tls=off
if "$bin/pg_config" --configure 2>/dev/null | grep -qE 'with-(open)?ssl' && command -v openssl >/dev/null; then
    { [ -z "$is_new" ] || (certificates) >"$folder/openssl.log" 2>&1; } && tls=on
fi

as_server tee "$data/test.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder'
ssl = $tls
ssl_cert_file = '$folder/server.crt'
ssl_key_file = '$folder/server.key'
ssl_ca_file = '$folder/authority.crt'
shared_buffers = 32MB
timezone = UTC
log_line_prefix = '%m [%p] %u '
include 'port.conf'
$(for setting in "${settings[@]}"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done)
CONF
# Over the socket everybody is believed; over the network, a password or a certificate is asked for.
as_server tee "$data/pg_hba.conf" >/dev/null <<'CONF'
local all all trust
local replication all trust
hostssl all by_certificate 127.0.0.1/32 cert map=dcb
host all all 127.0.0.1/32 scram-sha-256
CONF
printf 'dcb dcb by_certificate\n' | as_server tee "$data/pg_ident.conf" >/dev/null
[ $tls = on ] || as_server sed -i '/^ssl_/d' "$data/test.conf"
[ $tls = on ] || as_server sed -i '/^hostssl/d' "$data/pg_hba.conf"

start() {
    as_server "$bin/pg_ctl" -D "$data" -s -w -t 60 -l "$folder/log" start >/dev/null 2>&1 </dev/null
}
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    port=$((20000 + RANDOM % 12000))
    printf 'port = %s\n' "$port" | as_server tee "$data/port.conf" >/dev/null
    start && break
    if [ "$attempt" = 10 ] || ! grep -q 'Address already in use' "$folder/log"; then
        cat "$folder/log" >&2
        exit 1
    fi
done

sql() { "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$folder" -p "$port" -U postgres -d "$1" -c "$2" >&2 </dev/null; }
if [ -n "$is_new" ]; then
    sql postgres "create role dcb login password 's3cret p:w'"
    sql postgres "create role by_certificate login"
    sql postgres "create database dcb owner dcb"
fi

standby() {
    local ask=("$bin/psql" -XAtq -h "$folder" -U postgres -d postgres -p)
    [ "$1" = start ] || [ "$1" = stop ] || ask+=("$(cat "$folder/standby.port")" -c)
    case $1 in
    start)
        [ -d "$folder/standby" ] ||
            as_server "$bin/pg_basebackup" -h "$folder" -p "$port" -U postgres -D "$folder/standby" -R -c fast --no-sync
        local attempt
        for attempt in 1 2 3 4 5; do
            echo "port = $((port + attempt))" | as_server tee "$folder/standby/port.conf" >/dev/null
            echo $((port + attempt)) >"$folder/standby.port"
            as_server "$bin/pg_ctl" -D "$folder/standby" -s -w -t 60 -l "$folder/standby.log" start >/dev/null 2>&1 \
                </dev/null && return
        done
        false
        ;;
    stop) as_server "$bin/pg_ctl" -D "$folder/standby" -s -w -m fast stop >/dev/null ;;
    pause) "${ask[@]}" "select pg_wal_replay_pause()" >/dev/null </dev/null ;;
    resume) "${ask[@]}" "select pg_wal_replay_resume()" >/dev/null </dev/null ;;
    esac
}

back_up() { as_server "$bin/pg_basebackup" -h "$folder" -p "$port" -U postgres -D "$folder/backup" -c fast --no-sync; }
restore() {
    as_server "$bin/pg_ctl" -D "$data" -s -w -m fast stop >/dev/null
    rm -rf "$data"
    as_server cp -R "$folder/backup" "$data"
    chmod 700 "$data"
    start
}

# A URI's parameter: everything but letters, digits, / and a few others is encoded.
encoded() {
    local LC_ALL=C text=$1 i c
    for ((i = 0; i < ${#text}; i++)); do
        c=${text:i:1}
        case $c in
        [a-zA-Z0-9/._-]) printf '%s' "$c" ;;
        *) printf '%%%02X' "'$c" ;;
        esac
    done
}
uri="postgres:///dcb?user=dcb&port=$port&host=$(encoded "$folder")"

# Fewer sessions of the server than the tests have connections, so that they change hands.
if [ -n "$has_pooler" ]; then
    as_server mkdir "$folder/pooler"
    as_server tee "$folder/pooler.ini" >/dev/null <<CONF
[databases]
* = host=$folder port=$port
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $folder/pooler
auth_type = trust
auth_file = $folder/pooler.users
pool_mode = transaction
default_pool_size = 3
server_login_retry = 1
logfile = $folder/pooler.log
pidfile = $folder/pooler.pid
CONF
    echo '"dcb" ""' | as_server tee "$folder/pooler.users" >/dev/null
    as_server "$pooler" -d -q "$folder/pooler.ini" || {
        cat "$folder/pooler.log" >&2
        exit 1
    }
    # It goes into the background before it has its socket.
    for ((attempt = 0; attempt < 200; attempt++)); do
        [ ! -S "$folder/pooler/.s.PGSQL.$port" ] || break
        sleep 0.05
    done
    uri="postgres:///dcb?user=dcb&port=$port&host=$(encoded "$folder/pooler")"
fi

if [ "$mode" != serve ]; then
    export DCB_POSTGRES_URI=$uri
    status=0
    "$@" || status=$?
    exit $status
fi

printf '%s\n' "folder=$folder" "port=$port" "uri=$uri" "bin=$bin" "tls=$tls" \
    "tcp=postgres://dcb:s3cret%20p%3Aw@127.0.0.1:$port/dcb" ready
while read -r command argument; do
    case $command in
    start) start ;;
    stop) as_server "$bin/pg_ctl" -D "$data" -s -w -m "$argument" stop >/dev/null ;;
    kill) kill_all "$data" && rm -f "$folder"/.s.PGSQL.* ;;
    sql) sql dcb "$argument" ;;
    backup) back_up ;;
    standby) standby "$argument" ;;
    restore) restore ;;
    *) false ;;
    esac && echo "done" || echo failed
done
