# One image for all services of docker-compose.yml. It holds no settings and no secrets.
# An exact version of the Python that docker/try.sh runs; its digest is the registry's to tell.
FROM python:3.13.7-slim-bookworm

# unixODBC with drivers for SQL Server (FreeTDS) and MariaDB; a driver that you put into
# docker/odbc/ as a .deb file is installed too. ACCEPT_EULA=Y: you accept the license of
# Microsoft's driver.
ARG ACCEPT_EULA=N
COPY docker/odbc/ /tmp/odbc/
RUN apt-get update \
    && apt-get install -y --no-install-recommends unixodbc tdsodbc odbc-mariadb \
    && if ls /tmp/odbc/*.deb >/dev/null 2>&1; then \
         ACCEPT_EULA=$ACCEPT_EULA apt-get install -y --no-install-recommends /tmp/odbc/*.deb; fi \
    && rm -rf /var/lib/apt/lists/* /tmp/odbc

# A company index: docker compose build --build-arg PIP_INDEX_URL=...
ARG PIP_INDEX_URL
WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock

COPY celerybeat-schedule.py .
COPY docker/health.sh docker/
COPY cprqueue cprqueue
COPY workers workers

# A checkout made with a strict umask is readable by its owner alone; the programs are another user.
RUN chmod -R a+rX /app \
    && printf '#!/bin/sh\nexec python -m cprqueue "$@"\n' >/usr/local/bin/cprqueue \
    && chmod 755 /usr/local/bin/cprqueue \
    && useradd --system --uid 10001 --home-dir /var/lib/cprqueue --create-home cprqueue
USER cprqueue
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CPR_VAR_DIR=/var/lib/cprqueue
VOLUME /var/lib/cprqueue
CMD ["python", "-m", "cprqueue", "--help"]
