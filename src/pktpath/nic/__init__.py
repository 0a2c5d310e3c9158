"""The network card and the part of the kernel that polls it.

Enters: parsed frames as they arrive, each with its time. Leaves: frames in the batches of polls, as a
driver hands them to the receive offloads, and counters. Queues drop when they are full and say so; an
interrupt schedules a NAPI instance, and a softirq round polls it. No header is touched here: `offload.rss`
reads them for the hash.
"""
