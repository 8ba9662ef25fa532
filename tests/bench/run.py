"""Entry point of the benchmarks; ``--help`` lists the options."""

import sys

from qtinter_bench import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
