"""`python -m trio_bytesbuf`: the command line, which `cli` is."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
