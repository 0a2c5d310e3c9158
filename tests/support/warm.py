"""Compile the kernels once, before several test processes would each compile them."""

import importlib.util
import os

if __name__ == "__main__" and not os.environ.get("NUMBA_DISABLE_JIT") and importlib.util.find_spec("pktpath.lab.warm"):
    from pktpath.lab.warm import warm

    warm(print)
