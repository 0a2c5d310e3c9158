"""Support for tests: kernel oracles, naive twins, frame builders."""
