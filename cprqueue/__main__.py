"""``python -m cprqueue`` and ``cprqueue``: Ctrl-C is one line from the first moment on."""

import os
import signal


def main() -> None:
    """Load the command line, which takes a moment, and run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _stop)
    from cprqueue.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()


def _stop(*_: object) -> None:
    os.write(2, b"error: stopped\n")
    os._exit(130)  # nothing was begun; an exception in the middle of an import may be swallowed


if __name__ == "__main__":
    main()
