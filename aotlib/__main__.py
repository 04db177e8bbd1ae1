"""`python -m aotlib` is `aotlib`."""

from aotlib.cli import main

if __name__ == "__main__":
    main()
