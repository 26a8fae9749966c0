#!/usr/bin/env bash
# Runs docker-compose.yml in real containers, without Docker and without a registry of images:
# podman and buildah, on stand-ins that debootstrap makes out of this machine's own sources of
# packages (Debian's Python, Valkey, PostgreSQL and RabbitMQ under the names of the images).
# It needs root on Debian; elsewhere it says in one line why not, and ends with 0.
#
#   docker/try.sh                        all of it, in a temporary directory
#   docker/try.sh --images DIRECTORY     makes the images alone, and leaves them there
#   docker/try.sh DIRECTORY              uses the images that are there, and makes what is missing
#
# The storage is its own, and what runs ends with it. Two stacks and the sandbox run side by side:
# each waits much of its time.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SUITE=trixie COMPOSE_VERSION=1.6.0
readonly QUICK=${TRY_SECONDS:-120} # the limit of each step; a machine that is busy otherwise needs more
readonly WORKERS=(fetch insert upsert urgent maintenance beat flower)
readonly BOARD_PASSWORD='correct "horse" battery'
GRACE=10 # seconds in which a broker may end
only=all stack="" lanes=() programs=("${WORKERS[@]}")
if [ "${1:-}" = --images ]; then only=images && shift; fi
say() { printf '[containers] %s%s\n' "${stack:+$stack: }" "$*"; }

for program in podman buildah debootstrap runc; do
    [ "$(id -u)" = 0 ] && command -v "$program" >/dev/null && continue
    say "skipped: this needs root and $program (apt-get install podman buildah debootstrap runc)"
    exit 0
done
mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 !~ /security/ {print $2; exit}')
[ -n "$mirror" ] || { say "skipped: apt-get has no source of Debian's packages"; exit 0; }

umask 022 # the stand-ins are used by many users
work=$(mktemp -d)
images=${1:-$work}
mkdir -p "$images"
images=$(cd "$images" && pwd)
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
export CONTAINERS_REGISTRIES_CONF=$work/registries.conf
export BUILDAH_ISOLATION=chroot COMPOSE_PROFILES=""

# The default limits are above what a machine without CAP_SYS_RESOURCE may set.
cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$images/storage"
runroot = "$images/run"
END
# What the Dockerfile builds on is the stand-in of that name, whatever the machine says.
cat >"$CONTAINERS_REGISTRIES_CONF" <<END
[aliases]
"python" = "localhost/python"
END

clean_up() {
    local status=$? lane
    trap '' INT TERM
    trap - EXIT
    if [ "$status" != 0 ]; then last_words; fi
    for lane in "${lanes[@]}"; do kill -TERM -- "-$lane" 2>/dev/null || true; done
    wait
    podman ps -aq 2>/dev/null | xargs -r podman rm -f -t 2 >/dev/null 2>&1 || true
    buildah rm --all >/dev/null 2>&1 || true
    podman volume prune -f >/dev/null 2>&1 || true
    awk -v under="$images/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l
    rm -rf --one-file-system "$work"
    exit "$status"
}
last_words() {
    local name
    say "failed; the last lines of each container:"
    for name in $(podman ps -a --format '{{.Names}}' 2>/dev/null); do
        printf -- '--- %s: %s\n' "$name" "$(podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$name")"
        podman logs --tail 15 "$name" 2>&1 || true
    done
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=docker/try_images.sh
. docker/try_images.sh

# A stack is a directory, and what compose calls a project. $stack names it.
compose() {
    (cd "$work/$stack" && "$images/venv/bin/podman-compose" -p "$stack" --in-pod=false -f try.yml "$@") \
        >>"$work/$stack.log" 2>&1
}

container() { echo "${stack}_$1_1"; }                  # container SERVICE
inside() { podman exec "$(container "$1")" "${@:2}"; } # inside SERVICE COMMAND...

until_true() { # until_true COMMAND...: within QUICK seconds
    local end=$((SECONDS + QUICK))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { say "not within $QUICK s: $*"; return 1; }
        sleep "${PAUSE:-0.3}"
    done
}

step() { # step WHAT COMMAND...: within QUICK seconds
    local begun=$SECONDS status=0
    set +e # else a failure within the command would not end it
    (set -e; "${@:2}") >"$work/$stack.step" 2>&1
    status=$?
    set -e
    [ $((SECONDS - begun)) -le "$QUICK" ] || status=late
    say "$1: $((SECONDS - begun)) s"
    [ "$status" = 0 ] || { say "FAILED ($status): $1"; tail -n 20 "$work/$stack.step"; exit 1; }
}

files_of_git() { # files_of_git DIRECTORY
    mkdir -p "$1"
    # As with a strict umask, which the images and mounted files must not depend on.
    (umask 077 && git ls-files -z | xargs -0 cp --preserve=timestamps --parents -t "$1")
}

make_project() { # the files that git knows, and settings as an operator would write them
    files_of_git "$work/$stack"
    cat >"$work/$stack/.env" <<'END'
RM_BASE_URL=http://127.0.0.1:8030
RM_USERNAME=sandbox
QBT_BASE_URL=http://127.0.0.1:8030/api/v1
QBT_CLIENT_ID=sandbox-client
END
}

start_net() { # start_net COMMAND...: in the network namespace that all of the stack share
    podman run -d --name "$stack-net" --network none localhost/cprqueue "$@" >/dev/null
    # shellcheck disable=SC2086 - one word for each profile
    "$images/venv/bin/python" docker/try_compose.py docker-compose.yml \
        "/proc/$(podman inspect -f '{{.State.Pid}}' "$stack-net")/ns/net" ${COMPOSE_PROFILES//,/ } \
        >"$work/$stack/try.yml"
}

make_secrets() { # for COMPOSE_PROFILES; everything is on loopback here
    "$work/$stack/docker/secrets.sh" >/dev/null
    cd "$work/$stack/secrets"
    printf '%s' "it's \\ sandbox" >rm_password
    printf '%s' 00000000-0000-4000-8000-000000000000 >rm_api_secret
    printf '%s' sandbox-token >qbt_access_token
    printf '%s' sandbox-secret >qbt_client_secret
    printf '%s' sandbox-refresh >qbt_refresh_token
    sed -i -E 's/@(broker|rabbitmq|postgres)/@127.0.0.1/' broker_url database_url
    cd "$OLDPWD"
}

add_board() { # the pages for the office, with one user
    programs+=(web)
    podman exec -i "$stack-net" cprqueue web-user ann --role operator <<<"$BOARD_PASSWORD" \
        >"$work/$stack/secrets/web_users" 2>>"$work/$stack.log"
}

healthy() { # healthy SERVICE...
    local service
    for service; do # each try starts a program in there
        PAUSE=1 until_true podman healthcheck run "$(container "$service")"
    done
}

up() { # up BROKER [DATABASE]: what the others wait for, then those
    compose up -d "$@"
    [ -z "${2:-}" ] || healthy "$2"
    migrated # a broker may be slower
    healthy "$1"
    started "${programs[@]}"
}

migrated() {
    compose up -d migrate
    [ "$(podman wait "$(container migrate)")" = 0 ]
}

started() { # started PROGRAM...
    compose up -d "$@"
    until_true workers_are_ready
}

workers_are_ready() { # as their logs say; whether they work the next sync shows
    local service
    for service in fetch insert upsert urgent maintenance; do
        podman logs "$(container "$service")" 2>&1 | grep -c 'cprqueue.ready: at work' || return 1
    done
}

synced() { # synced: 300 jobs of RestorationManager, and none that should be pushed is not
    inside upsert python -m cprqueue sync --full --timeout "$QUICK" --json >"$work/$stack.json" || [ $? = 1 ]
    python3 -c '
import json, sys
found = json.load(open(sys.argv[1]))
assert (found["emitted"], found["recorded"], found["due"]) == (300, 300, 0), found
' "$work/$stack.json"
}

checked() { inside upsert python -m cprqueue check; }

flower_answers() { # with the password, and not without
    inside flower python -c '
import base64, urllib.error, urllib.request
request = urllib.request.Request("http://127.0.0.1:5555/api/workers")
try:
    urllib.request.urlopen(request)
    raise SystemExit("Flower lets everybody in")
except urllib.error.HTTPError as refused:
    assert refused.code == 401, refused
password = open("/run/secrets/flower_basic_auth", "rb").read()
request.add_header("Authorization", "Basic " + base64.b64encode(password).decode())
assert urllib.request.urlopen(request).status == 200
'
}

answered_with_a_password() {
    flower_answers
    board_answers
}

board_answers() { # to who logs in, and to nobody else
    inside web python -c '
import re, sys, requests
url, board = "http://127.0.0.1:8080", requests.Session()
def log_in(password):
    [token] = re.findall("name=.token. value=.([0-9a-f]+)", board.get(url + "/login").text)
    form = {"token": token, "name": "ann", "password": password}
    return board.post(url + "/login", data=form, allow_redirects=False).status_code
assert board.get(url + "/now.json").status_code == 401, "the board lets everybody in"
assert log_in("hush") == 403, "any password will do"
assert log_in(sys.argv[1]) == 303, "nobody can log in"
assert board.get(url + "/now.json").status_code == 200
' "$BOARD_PASSWORD"
}

kill_again() { # kill_again SERVICE: kill -9 from outside; compose's policy brings it back
    local name before
    name=$(container "$1")
    before=$(podman inspect -f '{{.State.Pid}}' "$name")
    kill -KILL "$before"
    until_true another_process "$name" "$before"
}

another_process() {
    local now
    now=$(podman inspect -f '{{.State.Pid}}' "$1")
    [ "$now" != 0 ] && [ "$now" != "$2" ]
}

killed_in_mid_sync() {
    inside upsert python -m cprqueue sync --full --no-wait >/dev/null
    kill_again insert
    synced
}

broker_restarted() {
    podman restart -t "$GRACE" "$(container "$1")" >/dev/null
    healthy "$1"
    synced
}

down() { # down [BROKER]: one that needs a short end, after those whose broker it is
    [ -z "${1:-}" ] || {
        compose stop "${programs[@]}"
        podman stop -t "$GRACE" "$(container "$1")" >/dev/null
    }
    compose down -v -t 30
    podman rm -f -i -t 5 "$stack-net" >/dev/null
}

upgraded_from_the_first() { # the tables of migration 0001, with what was synced in them
    compose stop "${programs[@]}"
    compose run --rm migrate python -m cprqueue migrate --back-to 0001
    migrated
    started fetch insert upsert urgent maintenance beat # the pages have been tried
    checked
    synced
}

synced_once() { inside sandbox-system cprqueue sync --full || [ $? = 1 ]; } # some jobs never fit

try_sandbox() { # as a person does who only looks at it: no settings, no secrets
    export COMPOSE_PROFILES=sandbox
    files_of_git "$work/$stack"
    start_net sleep infinity
    step "up" compose up -d
    step "the workers answer" until_true inside sandbox-system celery -A cprqueue inspect ping
    step "sync" synced_once
    step "health checks" healthy sandbox-system sandbox-flower
    step "down" down
}

begin_stack() { # begin_stack BROKER DATABASE, or BROKER board: with the pages for the office
    local setting name others broker=${1/valkey/broker}
    export COMPOSE_PROFILES=cprqueue,$1,$2
    make_project
    start_net python -m cprqueue sandbox --jobs 300
    make_secrets
    case $2 in
    board) add_board; setting=CPR_WEB_USERS_FILE name=web_users others=() ;;
    *) setting=DATABASE_URL_FILE name=database_url others=("$2") ;;
    esac
    echo "$setting=/run/secrets/$name" >>"$work/$stack/.env"
    step "up" up "$broker" "${others[@]}"
    step "check" checked
    step "sync of 300 jobs" synced
    step "a worker killed in mid-sync" killed_in_mid_sync
    step "the broker restarted" broker_restarted "$broker"
}

try_valkey() {
    begin_stack valkey board
    step "health checks" healthy "${programs[@]}"
    step "Flower and the board, with a password alone" answered_with_a_password
    step "upgrade from the first migration" upgraded_from_the_first
    step "down" down
}

try_rabbitmq() { # with PostgreSQL; what goes by neither of them is not done again
    GRACE=1 # the stand-in of RabbitMQ hears no SIGTERM
    begin_stack rabbitmq postgres
    step "down" down rabbitmq
}

make_images
say "images: $SECONDS s"
[ "$only" = all ] || exit 0
set -m # a process group for each, to end it by
for stack in valkey rabbitmq sandbox; do
    "try_$stack" &
    lanes+=("$!")
done
set +m
stack=""
for _ in "${lanes[@]}"; do wait -n || exit 1; done
say "all of it: $SECONDS s"
