"""``python -m flexure``: the same as the command ``flexure``."""

from flexure.cli import main

if __name__ == "__main__":
    main()
