"""``python -m twostage`` is the same as ``twostage``."""

from twostage.cli import main

if __name__ == "__main__":
    main()
