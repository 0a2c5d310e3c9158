"""Compile the kernels once, before several test processes would each compile them."""

import os

if __name__ == "__main__" and os.environ.get("NUMBA_DISABLE_JIT") != "1":
    from pktpath.lab.warm import COMPILED_SECONDS, COUNT, warm

    def report(name, number, seconds):
        if seconds is not None and seconds > COMPILED_SECONDS:
            print(f"compiled {name} ({number} of {COUNT}) in {seconds:.1f} s", flush=True)

    warm(report)
