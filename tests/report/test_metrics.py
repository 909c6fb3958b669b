"""The text that the node exporter reads, judged by Prometheus's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from libswap.process.identity import Identity
from libswap.report.metrics import prometheus
from libswap.scan.loading import Opened
from libswap.scan.owner import Process
from libswap.scan.scanner import Group, Scan
from libswap.scan.services import Service
from libswap.scan.stale import Current, Deleted, Overwritten
from libswap.scan.use import Use, User

HOSTILE = 'lib"\n\\{}\udcff\x1b,.so'


def process(pid: int, service: Service) -> Process:
    return Process(Identity(pid, 1), 1.0, 0, "root", ("x",), "x", service)


def use(path: str, since: float | None = None) -> Use:
    return Use(path, None, Deleted(since), True, (), Opened(), None, None)  # noqa: FBT003


def scan(*groups: Group) -> Scan:
    return Scan(groups, (), (), (), 10, (), others_hidden=False)


def samples(text: str) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            labels = sample.labels
            key = (sample.name, labels.get("library", ""), labels.get("unit", ""))
            assert key not in found, "a series may be there once only"
            found[key] = sample.value
    return found


def test_a_process_counts_for_each_library_and_once_for_the_machine() -> None:
    unit = Service("systemd unit", "web.service", "systemctl restart web.service")
    users = [User(process(n, unit), (use("/lib/a", 50.0 + n), use("/lib/b"))) for n in (1, 2)]
    current = Use("/lib/c", None, Current(), False, (), Opened(), None, None)  # noqa: FBT003
    found = samples(prometheus(scan(Group(unit, (*users, User(process(3, unit), (current,))))), 9))
    name = "libswap_library_stale_processes"
    assert found[name, "/lib/a", "web.service"] == 2
    assert found[name, "/lib/b", "web.service"] == 2
    assert (name, "/lib/c", "web.service") not in found
    since = "libswap_library_stale_since_timestamp_seconds"
    assert found[since, "/lib/a", "web.service"] == 51
    assert (since, "/lib/b", "web.service") not in found
    assert found["libswap_stale_processes", "", ""] == 3
    assert found["libswap_scan_timestamp_seconds", "", ""] == 9


def test_names_of_strangers_are_escaped_and_joined_where_they_look_alike() -> None:
    one, two = Service("k", "a\nb", ""), Service("k", "a\\nb", "")
    groups = [Group(s, (User(process(n, s), (use(HOSTILE),)),)) for n, s in enumerate((one, two))]
    text = prometheus(scan(*groups), 0)
    assert all(line.isprintable() for line in text.split("\n"))
    found = samples(text)
    shown = 'lib"\\n\\{}\\xff\\x1b,.so'
    assert found["libswap_library_stale_processes", shown, "a\\nb"] == 2


def test_a_stranger_cannot_fill_the_database() -> None:
    service = Service("no service", "", "")
    users = (User(process(7, service), tuple(use(f"/tmp/{n}") for n in range(5000))),)
    found = samples(prometheus(scan(Group(service, users)), 0))
    assert len(found) < 1100
    assert found["libswap_left_out_series", "", ""] == 4000


def test_nothing_stale_is_said_in_numbers_too() -> None:
    found = samples(prometheus(scan(), 0))
    assert found["libswap_stale_processes", "", ""] == 0


def test_what_was_overwritten_in_place_is_counted_apart() -> None:
    service = Service("no service", "", "")
    bad = Use("/l", None, Overwritten(1.0, True, ""), True, (), Opened(), None, None)  # noqa: FBT003
    found = samples(prometheus(scan(Group(service, (User(process(1, service), (bad,)),))), 0))
    assert found["libswap_overwritten_processes", "", ""] == 1
