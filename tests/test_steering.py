"""RPS and RFS: frames go to other CPUs and stay in order within a flow; a backlog is a queue with an end."""

from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.nic.backlog import NO_CPU, backlog_length, backlog_take, enqueue_to_backlog, make_backlog, rps_cpu
from pktpath.nic.settings import NicSettings
from pktpath.path.replay_types import ReplayOptions
from support.craft import Packet
from support.replay_runs import conserved, replay

hashes = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.integers(1, 65_535)), max_size=60), st.integers(1, 4))
def test_a_backlog_is_a_queue_with_an_end(steps, room):
    backlog = make_backlog(2, room)
    expected, dropped = [deque(), deque()], [0, 0]
    for put, cpu, octets in steps:
        if put:
            fits = len(expected[cpu]) < room
            assert enqueue_to_backlog(backlog, cpu, octets, octets % 7, octets % 11) == fits
            if fits:
                expected[cpu].append((octets, octets % 7, octets % 11))
            else:
                dropped[cpu] += 1
        elif expected[cpu]:
            assert backlog_take(backlog, cpu) == expected[cpu].popleft()
        assert [backlog_length(backlog, cpu) for cpu in (0, 1)] == [len(queue) for queue in expected]
    assert backlog.dropped.tolist() == dropped


@given(hashes, st.integers(1, 7))
def test_rps_scales_the_hash_to_the_cpus(value, cpus):
    """`reciprocal_scale`; a frame without a hash is not steered."""
    backlog = make_backlog(cpus, 10, rps=True)
    assert rps_cpu(backlog, value) == (value * cpus // 2**32 if value else NO_CPU)


@given(hashes)
def test_without_steering_the_stack_has_a_frame_at_once(value):
    assert rps_cpu(make_backlog(4, 10), value) == NO_CPU


def test_rps_spreads():
    counts = Counter(int(rps_cpu(make_backlog(4, 10, rps=True), value)) for value in range(1, 2**32, 2**32 // 4001))
    assert set(counts) == {0, 1, 2, 3}
    assert max(counts.values()) - min(counts.values()) <= 2


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(("frame", "frame", "work", "move")), st.integers(0, 3), st.integers(0, 2)), max_size=80)
)
def test_rfs_follows_the_reader_and_keeps_flows_in_order(steps):
    """Four flows, three CPUs, readers that move: a flow is never on two CPUs at once, and follows as soon as it may."""
    cpus, room = 3, 5
    backlog = make_backlog(cpus, room, rfs_flows=8)
    value = [(flow << 16) + flow + 8 for flow in range(4)]
    queued = [deque() for _ in range(cpus)]
    reader, at = [None] * 4, [None] * 4
    sent, read = [0] * 4, [0] * 4
    for kind, flow, cpu in steps:
        entry = value[flow] % 8
        if kind == "move":
            backlog.flow_cpu[entry] = reader[flow] = cpu
        elif kind == "work":
            if queued[cpu]:
                whose, number = queued[cpu].popleft()
                backlog_take(backlog, cpu)
                assert number == read[whose], "out of order"
                read[whose] += 1
        else:
            waits = {there for there in range(cpus) for whose, _ in queued[there] if whose == flow}
            assert len(waits) <= 1
            target = int(rps_cpu(backlog, value[flow]))
            if reader[flow] is None:
                reader[flow] = int(backlog.flow_cpu[entry])
                assert reader[flow] == (value[flow] >> 16) % cpus
            if waits:
                assert waits == {target}, "moved while frames of it wait"
            elif at[flow] is None:
                assert target == reader[flow]
            if enqueue_to_backlog(backlog, target, 60, 1, 0):
                queued[target].append((flow, sent[flow]))
                sent[flow] += 1
            at[flow] = target
    for cpu in range(cpus):
        for whose, number in queued[cpu]:
            assert number == read[whose]
            read[whose] += 1
    assert read == sent


def test_rfs_moves_a_flow_when_nothing_of_it_waits():
    backlog = make_backlog(2, 10, rfs_flows=8)
    value = 1 << 16 | 3
    assert rps_cpu(backlog, value) == 1
    enqueue_to_backlog(backlog, 1, 60, 1, 0)
    backlog.flow_cpu[3] = 0
    assert rps_cpu(backlog, value) == 1
    enqueue_to_backlog(backlog, 1, 60, 1, 0)
    backlog_take(backlog, 1)
    assert rps_cpu(backlog, value) == 1
    enqueue_to_backlog(backlog, 1, 60, 1, 0)
    backlog_take(backlog, 1)
    backlog_take(backlog, 1)
    assert rps_cpu(backlog, value) == 0


def flows(count, each):
    return [
        (500 * (k * count + flow), Packet(sport=2000 + 37 * flow, payload=b"x", seq=100 + k, flags=0x18).frame())
        for k in range(each)
        for flow in range(count)
    ]


def test_one_queue_and_four_cpus():
    """What RPS is for: all frames arrive on one queue, all CPUs work."""
    stream = flows(40, 20)
    alone = replay(ReplayOptions(settings=NicSettings(queues=1), cpus=4), stream).report
    for way in ({"rps": True}, {"rfs": True}):
        spread = replay(ReplayOptions(settings=NicSettings(queues=1), cpus=4, **way), stream).report
        conserved(spread)
        assert spread.stack_segments == 800
        assert min(cpu.processed for cpu in spread.cpus) > 0
        assert [cpu.processed > 0 for cpu in alone.cpus] == [True, False, False, False]
        assert spread.cpus[0].seconds["stack"] < alone.cpus[0].seconds["stack"] / 2
        assert sum(cpu.received_rps for cpu in spread.cpus) > 0
        assert spread.cpus[0].received_rps == 0, "no CPU interrupts itself"


def test_a_small_backlog_drops_and_counts():
    from pktpath.nic.host_types import Costs, Limits

    stream = [(0, frame) for _, frame in flows(10, 30)]
    options = ReplayOptions(
        settings=NicSettings(queues=1), cpus=2, rps=True, limits=Limits(max_backlog=4), costs=Costs(stack=50_000)
    )
    report = replay(options, stream).report
    assert report.drops["backlog"] == sum(cpu.dropped for cpu in report.cpus) > 0
    conserved(report)
