"""`python -m stubresolver` and the `stubresolver` command."""

import sys

from stubresolver.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
