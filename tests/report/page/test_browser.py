"""Pages as a browser lays them out: nothing is cut off on a phone, by day and by night."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from libswap.process.identity import Identity
from libswap.report.page.content import page_of
from libswap.report.page.model import Moment
from libswap.report.page.reporter import render
from libswap.scan.loading import Opened
from libswap.scan.owner import Process
from libswap.scan.scanner import Group, Scan
from libswap.scan.services import Service
from libswap.scan.stale import Deleted
from libswap.scan.use import Use, User

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
    pytest.mark.slow,
]

MEASURE = """
<script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const root = page.documentElement, style = getComputedStyle(page.body);
  const facts = [root.scrollWidth, root.clientWidth, style.backgroundColor, style.color];
  document.title = facts.join("|");
  document.body.append(document.title);
});
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    service = Service("systemd unit", "w" * 60 + ".service", "systemctl restart " + "w" * 60)
    uses = tuple(
        Use(f"/usr/lib/{'long' * 30}{n}.so", None, Deleted(1.0), True, (), Opened(), None, None)  # noqa: FBT003
        for n in range(12)
    )
    users = tuple(
        User(Process(Identity(n, 1), 1.0, 0, "root", ("x" * 300,), "x" * 15, service, n - 1), uses)
        for n in range(1, 9)
    )
    found = Scan((Group(service, users),), (), (), (), 9, (), others_hidden=False)
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(render(page_of(found), (Moment("+1 s", "y" * 200),), 0.0))
    return file


def chromium(home: Path, *words: str) -> str:
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--allow-file-access-from-files", f"--user-data-dir={home / 'profile'}", *words],
        capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(
    page: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe src="{page.as_uri()}" width="{width}" height="900"></iframe>{MEASURE}'
    )
    wished = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    shown = chromium(tmp_path, "--dump-dom", wished, frame.as_uri())
    found = re.search(r"<title>([^<]*)</title>", shown)
    assert found is not None, shown
    content, window, ground, colour = found[1].split("|")
    assert int(content) <= int(window) <= width
    expected = {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}
    assert ground == expected[scheme]
    assert colour != ground


def test_it_prints(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={file}", "--no-pdf-header-footer", page.as_uri())
    assert file.read_bytes().startswith(b"%PDF-")
