"""The page for a browser: its structure, what strangers may do to it, and that it can be read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from libswap.abi.finding import Finding, Importer, Severity
from libswap.abi.verdict import Verdict
from libswap.errors.fleet import NotReady
from libswap.fleet.rollout import (
    Affected,
    Machine,
    Request,
    Rollout,
    Stage,
    State,
)
from libswap.fleet.rollout import Outlook as MachineOutlook
from libswap.live.outlook import Outlook
from libswap.operations.check.result import Check, Checked, Running, SymbolLevelOnly
from libswap.operations.fleet import Plan, Rollouts
from libswap.operations.moves import (
    Asked,
    Moved,
    MovedBack,
    Planned,
    ProcessResult,
    Refused,
    Report,
)
from libswap.process.identity import Identity
from libswap.report.page.affected import in_trees
from libswap.report.page.content import page_of, page_of_error
from libswap.report.page.model import Mark, Moment, Page
from libswap.report.page.palette import DARK, LIGHT, SHAPES_ON, TEXT_ON
from libswap.report.page.picture import pictures
from libswap.report.page.reporter import render
from libswap.scan.loading import Opened
from libswap.scan.owner import Process
from libswap.scan.scanner import Group, Scan
from libswap.scan.services import Service
from libswap.scan.stale import Deleted
from libswap.scan.use import Use, User

HOSTILE = "</style><script>alert(1)</script>\x1b[2J\n\u202e\udcff'\"&{{7*7}}"
SERVICE = Service("systemd unit", "web.service", "systemctl restart web.service", "mind the queue")
OUTLOOK = Outlook("/l", "a", "b", {}, 0, (), 0, ())


def user(
    pid: int, *paths: str, parent: int = 0, text: str = "web", service: Service = SERVICE
) -> User:
    process = Process(Identity(pid, 1), 1.0, 0, text, (text, text), text, service, parent)
    uses = (Use(p, None, Deleted(5.0), True, (), Opened(), None, None) for p in paths)  # noqa: FBT003
    return User(process, tuple(uses))


def scan(*users: User) -> Scan:
    groups = (Group(users[0].process.service, users),) if users else ()
    return Scan(groups, (), (), (), 9, (), others_hidden=False)


def check(text: str = "answer") -> Check:
    old, new = (Checked(f"/{text}.{n}", text, "ab", "x86-64", 3) for n in (1, 2))
    findings = tuple(
        Finding(f"{s.value}-rule", s, text, text, "", "it fails", None, (Importer(7, text, text),))
        for s in Severity
    )
    return Check(
        old, new, Verdict.INCOMPATIBLE, findings, SymbolLevelOnly(text), (Running(7, text),), ()
    )


def report(text: str = "web") -> Report:
    outcomes = (
        Moved("id", 0.001, 1, 2, OUTLOOK),
        Moved("id", 0.004, 3, 1, OUTLOOK),
        Refused("E", text, text, 66),
        MovedBack("id", text),
        Planned(OUTLOOK),
    )
    results = (ProcessResult(n, text, f"/{text}", outcome) for n, outcome in enumerate(outcomes))
    return Report((Asked(f"/{text}", f"/{text}", text),), tuple(results), 2)


def plan(text: str = "host", count: int = 3) -> Plan:
    request = Request(source=text, sha256="", destination=text, inventories=())
    services = (Affected(text, text, (7, 8)),)
    found = [MachineOutlook(f"{text}{n}", "", n == 1, services) for n in range(count)]
    return Plan(request, tuple(found), (MachineOutlook(f"{text}-out", text),), ("1",))


def rollout(text: str = "host", stage: Stage = Stage.HALTED, count: int = 9) -> Rollout:
    """Machines of every state in turn."""
    states = list(State)
    made = [Machine(f"{text}{n}", states[n % 6], text, "", 1.0 + n) for n in range(count)]
    begun = [Machine(one.name, State.UNKNOWN, since=1.0) for one in made]
    outlooks = (*plan(text, count).machines, *plan(text).left_out)
    return Rollout(
        id="1", started=1.0, request=plan(text).request, stage=stage, machines=tuple(made),
        outlooks=outlooks, steps=(*begun, *made),
    )  # fmt: skip


PAGES = {
    "fleet plan": page_of(plan()),
    "fleet": page_of(Rollouts((rollout(),))),
    "fleets": page_of(Rollouts((rollout(), rollout()))),
    "fleet not ready": page_of_error(NotReady((("host1", "it is down"),))),
    "scan": page_of(scan(user(1, "/a", "/b"), user(2, "/b", parent=1))),
    "nothing": page_of(scan()),
    "check": page_of(check()),
    "live": page_of(report(), (user(0, "/web"),)),
}
every_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def html(page: Page) -> str:
    return render(page, (Moment("+0.1 s", "begun"),), 0.0)


@dataclass
class Document(HTMLParser):
    """What a browser would see."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "br", "link", "img"} and not self._closes_itself():
            self.open.append(tag)

    def _closes_itself(self) -> bool:
        return (self.get_starttag_text() or "").endswith("/>")

    def handle_endtag(self, tag: str) -> None:
        if not self._closes_itself() or self.open[-1:] == [tag]:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)


def parsed(text: str) -> Document:
    document = Document()
    document.feed(text)
    document.close()
    assert document.open == [], "every element is closed"
    return document


@every_page
def test_headings_are_in_order_and_everything_has_a_name(page: Page) -> None:
    document = parsed(html(page))
    levels = [int(tag[1]) for tag, _ in document.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    attributes = dict(document.tags)
    assert attributes["html"]["lang"] == "en"
    assert "width=device-width" in next(
        a["content"] for t, a in document.tags if a.get("name") == "viewport"
    )
    named = [a for t, a in document.tags if t == "svg" and "aria-hidden" not in a]
    assert all(a["role"] == "img" and a["aria-label"] for a in named)
    ids = [a["id"] for _, a in document.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in document.tags if "aria-labelledby" in a} <= set(ids)
    assert all(a.get("aria-label") for _, a in document.tags if "tabindex" in a)
    scopes = [a.get("scope") for t, a in document.tags if t == "th"]
    assert all(scope == "col" for scope in scopes)


@every_page
def test_nothing_is_fetched_and_no_script_runs(page: Page) -> None:
    text = html(page)
    document = parsed(text)
    assert not {t for t, _ in document.tags} & {"script", "link", "img", "iframe", "object", "base"}
    for _, attributes in document.tags:
        assert not {a for a in attributes if a.startswith("on") or a in {"src", "href"}}
    assert not re.search(r"https?:|url\(|@import|//[a-z]", text)
    assert "default-src 'none'" in text


def test_names_of_strangers_are_text_and_nothing_else() -> None:
    hostile = Service("k", HOSTILE, HOSTILE, HOSTILE)
    pages = (
        page_of(scan(user(1, HOSTILE, HOSTILE + "2", text=HOSTILE, service=hostile))),
        page_of(check(HOSTILE)),
        page_of(report(HOSTILE), (user(0, HOSTILE, text=HOSTILE, service=hostile),)),
        page_of(plan(HOSTILE)),
        page_of(Rollouts((rollout(HOSTILE),))),
        page_of_error(NotReady(((HOSTILE, HOSTILE),))),
    )
    for page in pages:
        text = html(page)
        assert "<script" not in text
        assert "49" not in "".join(re.findall(r"alert\(1\)[^<]{0,80}", text))
        assert text.count("</style>") == 1
        document = parsed(text)
        assert any("<script>alert(1)</script>" in shown for shown in document.texts)
        shown = "".join(document.texts).replace("\n", "")
        assert all(c.isprintable() for c in shown)


def test_every_process_and_library_of_a_result_is_shown() -> None:
    page = page_of(scan(user(1, "/a", "/b"), user(2, "/b", parent=1)))
    text = " ".join(parsed(html(page)).texts)
    for expected in ("web.service", "systemctl restart web.service", "mind the queue", "/a", "/b"):
        assert expected in text
    before, after = pictures(page)
    assert [mark for line in before.lines for _, mark in line.marks] == [
        Mark.OLD, Mark.OLD, Mark.NONE, Mark.OLD,
    ]  # fmt: skip
    assert Mark.OLD not in {mark for line in after.lines for _, mark in line.marks}
    assert "3 × runs the old file" in before.summary


def test_every_machine_of_an_upgrade_is_shown_with_what_became_of_it_the_worst_first() -> None:
    page = page_of(Rollouts((rollout(),)))
    assert sum(group.count for group in page.groups) == 10
    assert [group.tone.value for group in page.groups][:3] == ["bad", "bad", "warn"]
    (service,) = page.spread
    assert (service.name, service.machines, service.processes) == ("host", 9, 18)
    (unknown,) = page.groups[0].machines
    assert [moment.text for moment in unknown.moments] == ["the installation begins", "it failed"]
    texts = parsed(html(page)).texts
    assert all(f"host{n}" in texts for n in range(9))


@pytest.mark.parametrize("stage", Stage)
def test_the_verdict_on_an_upgrade_says_how_far_it_has_come(stage: Stage) -> None:
    verdict = page_of(Rollouts((rollout(stage=stage),))).verdict
    assert verdict.startswith({Stage.RUNNING: "Under way"}.get(stage, stage.value.capitalize()))


def test_ten_thousand_machines_make_a_page_of_bounded_size() -> None:
    page = page_of(Rollouts((rollout(count=10_000),)))
    assert sum(group.count for group in page.groups) == 10_001
    assert len(html(page)) < 8 << 20


def test_findings_are_folded_by_severity_and_only_the_worst_is_open() -> None:
    document = parsed(html(PAGES["check"]))
    opened = ["open" in a for t, a in document.tags if t == "details"]
    assert opened == [True, False, False]
    assert sum(t == "summary" for t, _ in document.tags) == 3


def test_each_stop_is_shown_beside_the_longest() -> None:
    stops = PAGES["live"].stops
    assert [round(stop.percent) for stop in stops] == [25, 100]
    assert [round(stop.milliseconds) for stop in stops] == [1, 4]


def test_children_stand_below_their_parents_and_a_ring_of_parents_is_no_trap() -> None:
    known = {
        pid: user(pid, "/a", parent=parent).process
        for pid, parent in {10: 1, 11: 10, 12: 11, 13: 10, 20: 21, 21: 20, 30: 30}.items()
    }
    assert list(in_trees(sorted(known), known)) == [
        (10, 0), (11, 1), (12, 2), (13, 1), (30, 0), (20, 0), (21, 0),
    ]  # fmt: skip


def test_a_machine_of_many_processes_makes_a_page_of_bounded_size() -> None:
    libraries = [f"/lib/{n}" for n in range(100)]
    users = [user(n, *libraries, text=f"p{n}") for n in range(1, 3000)]
    page = page_of(scan(*users))
    assert len(page.libraries) <= 12
    assert len(html(page)) < 4 << 20
    assert pictures(page)[0].hidden > 0


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _pairs() -> Iterator[tuple[str, str, str, float]]:
    for palette in ("light", "dark"):
        yield from ((palette, front, back, 4.5) for front, back in TEXT_ON)
        yield from ((palette, front, back, 3.0) for front, back in SHAPES_ON)


@pytest.mark.parametrize(("palette", "front", "back", "least"), list(_pairs()))
def test_every_colour_can_be_read_on_its_ground(
    palette: str, front: str, back: str, least: float
) -> None:
    colours = LIGHT if palette == "light" else DARK
    low, high = sorted((_luminance(colours[front]), _luminance(colours[back])))
    assert (high + 0.05) / (low + 0.05) >= least


def test_the_page_has_no_colour_beside_the_palette() -> None:
    text = html(PAGES["check"])
    used = set(re.findall(r"#[0-9a-f]{3,8}\b", text)) - {*LIGHT.values(), *DARK.values()}
    assert used == set()
    assert set(re.findall(r"var\(--([a-z-]+)\)", text)) - {"depth"} <= set(LIGHT) == set(DARK)
