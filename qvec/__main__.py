"""Run the command line as ``python -m qvec``."""

from qvec.cli import main

if __name__ == "__main__":
    main()
