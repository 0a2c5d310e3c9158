"""A DPDK process has its packet buffers in pages of 4 KiB.

DPDK takes its buffers from huge pages, unless it is started with `--no-huge`: then it has ordinary memory, which shows as a
mapping `memfd:nohuge`. Every packet then needs more entries of the TLB, device queues may not lie in one piece for the device,
and vhost-user cannot share them with guests the usual way.

Speaks when that mapping is there and none of huge pages (`/dev/hugepages`, `rtemap_N`). Somebody may have chosen that for a
test, so it is likely a warning.
Silent otherwise: a process of which it cannot be told is not accused, and `memfd:seg_N-N` are huge pages.
Sources: DPDK lib/eal/linux/eal_memory.c, its Getting Started Guide for Linux (hugepages), ovs-vswitchd.conf.db(5) dpdk-extra.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import Mapping
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._threads import begin, process_name

_NO_HUGE = re.compile(r"/?memfd:nohuge")
_HUGE = re.compile(r"/dev/hugepages|.*rtemap_\d|/mnt/huge|/?memfd:seg_\d|/anon_hugepage")


@rule(
    Mapping,
    ask="pmap -x PID",
    well="No DPDK process is seen to run without huge pages.",
    topic="huge-pages",
)
def process_without_huge_pages(case: Case) -> Iterator[Finding]:
    """One finding a process."""
    by_pid: dict[int, list[Mapping]] = {}
    for mapping in case.latest(Mapping):
        by_pid.setdefault(mapping.pid, []).append(mapping)
    for pid, mappings in by_pid.items():
        small = [mapping for mapping in mappings if _NO_HUGE.match(mapping.name)]
        if not small or any(_HUGE.match(mapping.name) for mapping in mappings):
            continue
        size = sum(mapping.size for mapping in small)
        who = process_name(case, pid)
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{begin(who)} has its DPDK memory, {size / 1024:,.0f} MiB, in pages of 4 KiB and none in huge pages.",
            evidence=tuple(mapping.at for mapping in small[:4]),
            why="memfd:nohuge is what DPDK maps with --no-huge. Each packet then needs more entries of the TLB, and devices "
            "that fetch buffers themselves may refuse the memory.",
            about=who,
            remedies=(
                Remedy(
                    command="sysctl -w vm.nr_hugepages=1024  # 2 GiB of pages of 2 MiB; then start the process without --no-huge",
                    effect="Buffers lie in pages of 2 MiB: one TLB entry instead of 512.",
                    cost="The memory is taken away from everything else, and the process must be restarted: packets stop "
                    "meanwhile.",
                    undo="sysctl -w vm.nr_hugepages=0  # or what it was; after the process has ended",
                    verify="pmap -x PID shows memfd:seg_ or /dev/hugepages, and HugePages_Free of /proc/meminfo has fallen",
                    lasting=(("kernel command line", "hugepagesz=2M hugepages=1024"), ("sysctl.d", "vm.nr_hugepages = 1024")),
                ),
            ),
            proof="The command line of the process (ps -o args, or other_config:dpdk-extra) has --no-huge.",
        )
