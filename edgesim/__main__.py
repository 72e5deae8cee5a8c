"""`python -m edgesim` is the `edgesim` command."""

from edgesim.cli.main import main

if __name__ == "__main__":
    main()
