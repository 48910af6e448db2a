"""`python -m consomme`: the command where it is not installed."""

from consomme.cli import main

if __name__ == "__main__":
    main()
