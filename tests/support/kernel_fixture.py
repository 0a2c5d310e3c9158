"""The kernel oracle as a pytest fixture: import `kernel_gro` into a test module."""

from collections.abc import Iterator

import pytest

from support.kernel_gro import KernelGro, why_unavailable


@pytest.fixture(scope="module")
def kernel_gro() -> Iterator[KernelGro]:
    """Ask the running kernel; skip where it cannot be asked."""
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    with KernelGro() as oracle:
        yield oracle
