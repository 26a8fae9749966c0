"""``python -m cprqueue`` and ``cprqueue``: Ctrl-C is one line from the first moment on."""

from cprqueue.interrupts import importing


def main() -> None:
    """Load the command line, which takes a moment, and run it."""
    with importing():
        from cprqueue.cli import main as run
    run()


if __name__ == "__main__":
    main()
