"""The command line, as ``plaudit`` and as ``python -m plaudit`` (so also ``torchrun -m plaudit``)."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as later ones do."""
    try:
        from plaudit.cli.main import app

        app(prog_name="plaudit")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
