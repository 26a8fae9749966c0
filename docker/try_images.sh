# shellcheck shell=bash disable=SC2154 - work, cache, mirror and SUITE are set there
# For docker/try.sh alone: the stand-ins for the images, and the image.

pip_configuration() { # this machine's, wherever it stands; constraints are about other programs
    printf '[global]\n'
    python3 -m pip config list 2>/dev/null |
        sed -nE "s/^(global|install|:env:)\.\.?([a-z-]+)='(.*)'$/\2 = \3/p" | grep -v '^constraint' |
        awk -F ' = ' '!seen[$1]++'
}

python_of() { "$@" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; } # python_of COMMAND...

make_root() { # make_root DIRECTORY: everything that the stand-ins hold
    debootstrap --variant=minbase "$SUITE" "$1" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log"; return 1; }
    cp /etc/resolv.conf "$1/etc/"
    echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/stand-in" # it lives for minutes
    apt-config dump Acquire | grep -i proxy >"$1/etc/apt/apt.conf.d/90proxy" || true
    mkdir -p "$1/etc/ssl/certs"
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
    chmod 755 "$1/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive chroot "$1" sh -c '
        apt-get -o Acquire::Languages=none update && apt-get install -y --no-install-recommends \
            ca-certificates python3-venv valkey-server postgresql rabbitmq-server
        python3 -m venv /opt/venv
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/* /usr/share/doc
    ' >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log"; return 1; }
    chroot "$1" sh -c '
        mkdir /data
        rm -rf /var/lib/postgresql/* /var/lib/rabbitmq/* && mkdir /var/lib/postgresql/data
        chown valkey: /data && chown postgres: /var/lib/postgresql/data && chown rabbitmq: /var/lib/rabbitmq
    '
}

stand_in() { # stand_in SERVICE [options of buildah config]: under the name of its image
    local image made
    image=$(awk -v service="  $1:" '$0 == service || index($0, service " &") == 1 {found = 1}
        found && $1 == "image:" {print $2; exit}' docker-compose.yml)
    made=$(buildah from --pull-never "$root")
    buildah config "${@:2}" "$made"
    buildah commit -q --rm "$made" "localhost/${image:-$(sed -n 's/^FROM //p' Dockerfile)}" >/dev/null
}

make_stand_ins() {
    local made place wanted
    say "making the stand-ins for the images with debootstrap"
    made=$(buildah from scratch)
    place=$(buildah mount "$made")
    make_root "$place"
    wanted=$(sed -nE 's/^FROM python:(3\.[0-9]+).*/\1/p' Dockerfile)
    [ "$(python_of chroot "$place" python3)" = "$wanted" ] ||
        { say "the Dockerfile has Python $wanted, and Debian's $SUITE another"; return 1; }
    pip_configuration >"$place/etc/pip.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$place/etc/ssl/certs/"
    postgres_entrypoint >"$place/usr/local/bin/postgres-entrypoint"
    chmod 755 "$place/usr/local/bin/postgres-entrypoint"
    buildah commit -q --rm "$made" "$root" >/dev/null
    stand_in python --env PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
    stand_in broker
    stand_in rabbitmq --env RABBITMQ_LOGS=-
    stand_in postgres --entrypoint '["postgres-entrypoint"]'
    buildah tag "$root" "$root-whole"
}

make_images() { # those that $images does not have yet
    local directories=() word root
    root=$({ declare -f make_root make_stand_ins stand_in postgres_entrypoint; pip_configuration
        cat docker-compose.yml Dockerfile; } | sha256sum | cut -c 1-12)
    root=localhost/root:$root
    podman image exists "$root-whole" || make_stand_ins
    [ -x "$images/venv/bin/podman-compose" ] || {
        python3 -m venv "$images/venv"
        "$images/venv/bin/python" -m pip install -qq --disable-pip-version-check "podman-compose==$COMPOSE_VERSION"
    }
    # What pip.conf names on this machine is shown to the build at the same place.
    for word in $(pip_configuration | sed -nE 's/^(find-links|extra-index-url|index-url) = //p'); do
        word=${word#file://}
        [ -d "$word" ] && directories+=(--volume "${word%/simple}:${word%/simple}:ro")
    done
    files_of_git "$work/source"
    buildah bud -q --layers --pull-never --network host "${directories[@]}" -t localhost/cprqueue \
        "$work/source" >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log"; return 1; }
}

# What the official image does at its first start, in short.
postgres_entrypoint() {
    cat <<'END'
#!/bin/sh
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data
[ -s $data/PG_VERSION ] || {
    initdb -D $data -U "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" --auth scram-sha-256 \
        --encoding UTF8 --locale C.UTF-8 >/dev/null
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D $data postgres >/dev/null
}
exec postgres -D $data -c unix_socket_directories=/tmp # podman puts a tmpfs of its own over /run
END
}
