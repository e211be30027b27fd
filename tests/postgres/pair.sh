#!/usr/bin/env bash
# Two PostgreSQL servers for one test, of which one follows the other, under Patroni, which promotes it
# when the first one dies. All is made in a new folder, and removed when the test ends.
#
#   pair.sh sync|async serve      says where the servers are, and obeys standard input
#
# With `sync`, the leader's commits wait for the other server, with `async` they do not. It prints lines
# `name=value` and then `ready`, and answers each line of its input by `done` or `failed`:
#
#   settle                   waits until the other server has all WAL of the leader
#   hold                     stops what sends the leader's WAL to the other server, until the leader dies
#   kill                     kills the leader and its Patroni, and waits until the other server leads
#   rejoin                   starts the killed server again, and waits until it follows, without a lag
#
# DCB_POSTGRES_BIN names the folder of the server to take, else it is the newest of the system's.
# Ends with 77 where Patroni, etcd or a server cannot be had, which ctest reports as skipped.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# watch PROCESS FOLDER: removes the servers when the process that made them was killed.
if [ "${1:-}" = watch ]; then
    while kill -0 "$2" 2>/dev/null; do
        sleep 1
    done
    folder=$3
else
    mode=${1:?sync or async}
    [ "$mode" = sync ] || [ "$mode" = async ]
    [ "${2:-}" = serve ]
fi

end_all() {
    local pid
    for pid in "$folder"/*.pid; do
        kill -KILL "$(cat "$pid")" 2>/dev/null || true
    done
    kill_all "$folder/data1"
    kill_all "$folder/data2"
    rm -rf "$folder"
}
if [ "${1:-}" = watch ]; then
    [ ! -d "$folder" ] || end_all
    exit
fi

found=$(versions)
bin=${DCB_POSTGRES_BIN:-${found%%$'\n'*}}
for needed in patroni etcd "$bin/pg_rewind"; do
    command -v "$needed" >/dev/null && continue
    say "SKIPPED: THERE IS NO $(basename "$needed") HERE (apt install postgresql patroni python3-etcd etcd-server)"
    exit 77
done

make_folder dcb-pair
trap 'trap "" HUP INT TERM; end_all' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
# What ctest kills has no time to clean up.
(setsid "$0" watch $$ "$folder" </dev/null >/dev/null 2>&1 &)

# start NAME COMMAND...: starts a program of the server's user, and notes its process.
start() {
    local name=$1
    shift
    # Not as_server, whose process would be another one.
    "${user[@]}" "$@" </dev/null >>"$folder/$name.log" 2>&1 &
    echo $! >"$folder/$name.pid"
    disown # so that nobody is told how it ends
}

# within SECONDS COMMAND...: tries a command until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $end ]; then
            say "$*: not in time"
            tail -n 5 "$folder"/*.log >&2
            return 1
        fi
        sleep 0.1
    done
}

# Ports of which nobody else is likely to have one.
first=$((20000 + RANDOM % 1200 * 10))
ports=(0 $((first + 1)) $((first + 2)))

configuration() {
    cat <<YAML
scope: dcb
name: node$1
restapi: {listen: "127.0.0.1:$((first + 2 + $1))", connect_address: "127.0.0.1:$((first + 2 + $1))"}
etcd3: {host: "127.0.0.1:$((first + 5))"}
bootstrap:
  dcs:
    ttl: 5
    loop_wait: 1
    retry_timeout: 2
    master_start_timeout: 0
    synchronous_mode: $([ "$mode" = sync ] && echo true || echo false)
    postgresql:
      use_pg_rewind: true
      parameters: {wal_log_hints: 'on', shared_buffers: 32MB, wal_keep_size: 256MB}
  initdb: [{encoding: UTF8}, {locale: C}]
postgresql:
  listen: 127.0.0.1:${ports[$1]}
  connect_address: 127.0.0.1:${ports[$1]}
  data_dir: $folder/data$1
  bin_dir: $bin
  basebackup: [{checkpoint: fast}]
  pgpass: $folder/pgpass$1
  parameters: {unix_socket_directories: $folder}
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
  authentication:
    superuser: {username: postgres, password: postgres}
    replication: {username: replicator, password: replicator}
YAML
}
for node in 1 2; do
    configuration $node | as_server tee "$folder/node$node.yml" >/dev/null
done

# ask NODE QUERY
ask() {
    "$bin/psql" -XAtq -h "$folder" -p "${ports[$1]}" -U postgres -d postgres -c "$2" 2>/dev/null </dev/null
}
leads() { [ "$(ask "$1" 'select pg_is_in_recovery()')" = f ]; }
# follows LEADER: does the other server have all WAL of this one, and may it take over?
follows() {
    [ "$(ask "$1" "select state from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()")" = streaming ] &&
        { [ "$mode" = async ] || is_synchronous $((3 - $1)); }
}
# is_synchronous NODE: does Patroni know that commits wait for this server? It promotes no other.
is_synchronous() {
    local answer
    exec 3<>"/dev/tcp/127.0.0.1/$((first + 2 + $1))" || return
    printf 'GET /synchronous HTTP/1.0\r\n\r\n' >&3
    read -r answer <&3
    exec 3>&-
    [[ $answer = *\ 200\ * ]]
}

etcd=http://127.0.0.1
start etcd etcd --data-dir "$folder/etcd" --listen-client-urls "$etcd:$((first + 5))" \
    --advertise-client-urls "$etcd:$((first + 5))" --listen-peer-urls "$etcd:$((first + 6))" \
    --initial-advertise-peer-urls "$etcd:$((first + 6))" --initial-cluster "default=$etcd:$((first + 6))"
start node1 patroni "$folder/node1.yml"
within 60 leads 1
start node2 patroni "$folder/node2.yml"
ask 1 "create role dcb login"
ask 1 "create database dcb owner dcb"
within 60 follows 1
leader=1 other=2

printf '%s\n' "folder=$folder" "bin=$bin" "port=${ports[1]}" \
    "uri=postgres://dcb@127.0.0.1:${ports[1]},127.0.0.1:${ports[2]}/dcb?sslmode=disable&target_session_attrs=read-write" ready
while read -r command; do
    case $command in
    settle) within 60 follows $leader ;;
    hold) kill -STOP $(ask $leader 'select pid from pg_stat_replication') ;;
    kill)
        kill -KILL "$(cat "$folder/node$leader.pid")"
        kill_all "$folder/data$leader"
        rm -f "$folder/.s.PGSQL.${ports[$leader]}"*
        read -r leader other <<<"$other $leader"
        within 60 leads $leader
        ;;
    rejoin)
        start node$other patroni "$folder/node$other.yml"
        within 60 follows $leader
        ;;
    *) false ;;
    esac && echo "done" || echo failed
done
