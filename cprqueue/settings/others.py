"""Pure: variables that libraries read by themselves, and that the programs of `up` do not get.

What they decide is decided by settings, or by nobody. A test reads the libraries' sources: each
variable there is either taken out here or passed on by intention.
"""

from __future__ import annotations

_PREFIXES = (
    "ALEMBIC_",
    "APPRISE_",
    "CELERY_",
    "DJANGO_",
    "FLOWER_",
    "KOMBU_",
    "PROMETHEUS_",
    "PYTHON",
    "SQLALCHEMY_",
    "TORNADO_",
    "_MP_FORK_",
)
_NAMES = frozenset(
    {
        *("C_BENCH", "C_BENCH_EVERY", "C_FAKEFORK", "C_FORCE_ROOT", "C_IMPDEBUG", "C_REMDEBUG"),
        *("C_STRICT_APP", "C_WARN_APP", "C_WNOCONF", "AUTOSCALE_KEEPALIVE", "DISABLE_TRACEBACKS"),
        *("EVENTLET_NOBLOCK", "FORKED_BY_MULTIPROCESSING", "MP_LOG", "MP_MAIN_FILE", "NETRC"),
        *("MULTIPROCESSING_FORKING_DISABLE", "NOSETPS", "PICKLE_PROTOCOL", "REMAP_SIGTERM"),
        *("SSLKEYLOGFILE", "TIMER_DEBUG", "USE_FAST_LOCALS", "prometheus_multiproc_dir"),
    }
)
WHICH_DATABASE = frozenset(
    {
        *("PGAPPNAME", "PGCLIENTENCODING", "PGDATABASE", "PGDATESTYLE", "PGGEQO", "PGHOST"),
        *("PGHOSTADDR", "PGLOADBALANCEHOSTS", "PGOPTIONS", "PGPORT", "PGSERVICE", "PGSERVICEFILE"),
        *("PGTARGETSESSIONATTRS", "PGTZ", "PGUSER"),
    }
)
"""What PostgreSQL's own library would do with DATABASE_URL: another server, user, schema. How it is
encrypted (PGSSLMODE, PGSSLROOTCERT ...) and a password (PGPASSFILE) may come from there."""

_PASSED_ON = frozenset(
    {
        *("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE"),  # where Python is
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    }
)


def is_taken_out(name: str) -> bool:
    """Tell whether a variable would let a library decide what is ours to decide."""
    if name in _PASSED_ON:
        return False
    return name in _NAMES or name in WHICH_DATABASE or name.startswith(_PREFIXES)
