#!/usr/bin/env bash
# A synchronous standby of a server that cluster.sh has made: standby.sh start|stop BIN FOLDER PORT.
# While it runs, every commit on the server waits until the standby has it on its disk.
set -euo pipefail
bin=$2 folder=$3 port=$4
own=$folder/standby

as_server() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    if command -v setpriv >/dev/null; then
        as_server() { setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups -- "$@"; }
    else
        as_server() { runuser -u nobody -- "$@"; }
    fi
fi
sql() { "$bin/psql" -XqAt -v ON_ERROR_STOP=1 -h "$folder" -p "$port" -U postgres -d postgres -c "$1" </dev/null; }

case $1 in
start)
    grep -q '^local replication' "$folder/data/pg_hba.conf" ||
        echo 'local replication all trust' | as_server tee -a "$folder/data/pg_hba.conf" >/dev/null
    sql 'select pg_reload_conf()' >/dev/null
    as_server "$bin/pg_basebackup" -h "$folder" -p "$port" -U postgres -D "$own" -R -X stream -c fast
    as_server mkdir "$folder/standby-socket"
    # Its only address is a socket in a folder of its own, so it can have the same port.
    as_server tee -a "$own/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$folder/standby-socket'
CONF
    as_server "$bin/pg_ctl" -D "$own" -s -w -t 60 -l "$folder/standby.log" start >/dev/null 2>&1 </dev/null || {
        cat "$folder/standby.log" >&2
        exit 1
    }
    sql "alter system set synchronous_standby_names = '*'"
    sql 'select pg_reload_conf()' >/dev/null
    for _ in $(seq 300); do
        [ "$(sql "select count(*) from pg_stat_replication where sync_state = 'sync'")" = 0 ] || exit 0
        sleep 0.1
    done
    echo "the standby does not become synchronous" >&2
    exit 1
    ;;
stop)
    sql 'alter system reset synchronous_standby_names'
    sql 'select pg_reload_conf()' >/dev/null
    as_server "$bin/pg_ctl" -D "$own" -s -w -m immediate stop >/dev/null || true
    rm -rf "$own" "$folder/standby-socket"
    ;;
*)
    echo "$0: start or stop, not $1" >&2
    exit 2
    ;;
esac
