"""``python -m plaudit`` (and ``torchrun -m plaudit``) is the command line."""

from plaudit.cli.main import app

if __name__ == "__main__":
    app(prog_name="plaudit")
