#!/bin/sh
# Ends with 0 if this container's program does its work: docker/health.sh QUEUE, beat, flower or web.
set -e
case $1 in
beat) find "$CPR_VAR_DIR/beat" -name 'schedule*' -mmin -5 | grep -q . ;; # written every minute
flower) exec python -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:5555/healthcheck", timeout=10)' ;;
web) exec python -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8080/login", timeout=10)' ;;
*) exec celery -A cprqueue inspect ping --timeout 10 --destination "$1@$(hostname)" ;;
esac
