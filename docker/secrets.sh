#!/bin/sh
# Makes the files that docker-compose.yml reads secrets from, in secrets/: passwords at random,
# URLs for the profiles that COMPOSE_PROFILES (here or in .env) names, the others empty, to be
# filled in. A file that is there stays as it is, so it may be run again at any time.
set -eu
cd "$(dirname "$0")/.."
: "${COMPOSE_PROFILES:=$(sed -n 's/^COMPOSE_PROFILES=//p' .env)}"

make() { # make NAME TEXT
    [ -s "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"
}

random() { # no character that a URL would have to escape; SQL Server wants these kinds of them
    printf 'Cq-%s' "$(od -An -N 16 -t x1 /dev/urandom | tr -d ' \n')"
}

# The directory keeps others out; the files are for the user in the containers, whatever its id.
mkdir -p -m 700 secrets
umask 022
make broker_password "$(random)"
make database_password "$(random)"
make flower_basic_auth "cprqueue:$(random)"
case ,$COMPOSE_PROFILES, in
*,valkey,*) make broker_url "redis://:$(cat secrets/broker_password)@broker:6379/0" ;;
*,rabbitmq,*) make broker_url "amqp://cprqueue:$(cat secrets/broker_password)@rabbitmq:5672//" ;;
esac
driver='driver=FreeTDS&TDS_Version=7.4'
ls docker/odbc/msodbcsql18*.deb >/dev/null 2>&1 &&
    driver='driver=ODBC+Driver+18+for+SQL+Server&TrustServerCertificate=yes'
case ,$COMPOSE_PROFILES, in
*,postgres,*)
    make database_url "postgresql+psycopg://cprqueue:$(cat secrets/database_password)@postgres/cprqueue" ;;
*,sqlserver,*)
    make database_url "mssql+pyodbc://cprqueue:$(cat secrets/database_password)@sqlserver:1433/cprqueue?$driver" ;;
esac
chmod a+r docker/valkey.conf # the broker reads it; git made it with your umask
for name in rm_password rm_api_secret qbt_access_token broker_url; do
    make "$name" ""
    [ -s "secrets/$name" ] || echo "fill in secrets/$name"
done
for name in qbt_client_secret qbt_refresh_token database_url alert_urls alert_heartbeat_url web_users; do
    make "$name" "" # only where they are used: docs/containers.md
done
