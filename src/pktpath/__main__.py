"""`python -m pktpath` is `pktpath`."""

from pktpath.cli import main

main()
