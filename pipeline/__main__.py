"""`python -m pipeline`: the same as the installed command `dailies`."""

from pipeline.cli.main import main

if __name__ == "__main__":
    main()
