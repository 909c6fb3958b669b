"""What every command owes its user, tried on every command."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import typer.main

from libswap.cli.app import COMMANDS, application, run
from libswap.cli.session import GROUPS
from libswap.errors.base import ReaderGone, SystemRefused, UsageError
from libswap.errors.process import ProcessGone
from support.error_tree import error_classes
from support.terminal import LIBSWAP, SHOWING_A_TABLE, libswap, on_terminal

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
CHANGE_NOTHING = {
    "check", "demo", "fleet status", "history", "scan", "status",
    "patch show", "patch list", "patch status", "patch verify",
    "handles list", "handles show", "handles draft",
}  # fmt: skip
HEAVY = {"rich", "elftools", "watchdog", "iced_x86", "jinja2"}


def leaves(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, child in command.commands.items():
        yield from leaves((*path, name), child)


EVERY = dict(leaves((), typer.main.get_command(application([]))))
every_command = pytest.mark.parametrize("name", EVERY)


def options(name: str) -> set[str]:
    return {option for parameter in EVERY[name].params for option in parameter.opts}


def document(text: str) -> dict[str, Any]:
    """The one JSON document that `text` is, checked against the published schema."""
    parsed = json.loads(text)
    schema().validate(parsed)
    return parsed


@cache
def schema() -> Any:
    """The published one, itself checked once: that takes longer than all documents."""
    published = json.loads((REFERENCE / "json-schema.json").read_text())
    validator = jsonschema.validators.validator_for(published)
    validator.check_schema(published)
    return validator(published)


def harmless(name: str, state_dir: Path) -> list[str]:
    """The command with no more words than keep it from changing anything."""
    extra = {"--state-dir": ["--state-dir", str(state_dir)], "--dry-run": ["--dry-run"]}
    chosen = [word for option, words in extra.items() if option in options(name) for word in words]
    return [*name.split(), *chosen]


def modules_after(*runs: list[str]) -> set[str]:
    """The top-level modules that these runs in one process have imported."""
    code = (
        "import sys, json; from libswap.__main__ import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv[1:] = words; main()\n"
        "sys.stderr.write('\\n' + ' '.join({m.partition('.')[0] for m in sys.modules}))"
    )
    python = [sys.executable, "-c", code, json.dumps(runs)]
    done = subprocess.run(python, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


# --- words ---


@every_command
def test_help_fits_a_narrow_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert run([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 60
    assert "--json" in shown


@pytest.mark.parametrize(
    "words",
    ["live LIB --check", "install LIB LIB --live --check", "patch build a.c --target LIB --cflags",
     "fleet install LIB LIB -i LIB --health", "fleet install LIB LIB -i LIB --batch-health"],
)  # fmt: skip
def test_a_quotation_without_an_end_is_a_usage_error(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["/nowhere" if word == "LIB" else word for word in words.split()]
    assert run([*given, "it's", "--json"]) == UsageError.exit_code
    assert f"{given[-1]} it's: " in document(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    "words",
    ["live LIB --check", "install LIB LIB --live --check", "install LIB LIB --check",
     "fleet install LIB LIB -i LIB --health", "fleet install LIB LIB -i LIB --batch-health"],
)  # fmt: skip
@pytest.mark.parametrize("said", ["", "  "])
def test_a_check_that_an_unset_variable_left_empty_is_a_usage_error(words: str, said: str) -> None:
    given = ["/nowhere" if word == "LIB" else word for word in words.split()]
    assert run([*given, said]) == UsageError.exit_code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("watch", "what is to be watched"),
        ("watch /tmp", "--to DIR"),
        ("watch --config FILE --policy live", "--policy"),
        ("watch status --once", "status"),
        ("watch status --policy live", "status"),
        ("watch status --resume", "status"),
        ("scan --interval 7", "--watch"),
        ("scan libc.so.6 --interval 7", "--watch"),
        ("live LIB --drain-limit 0", "belong to --drain"),
        ("live libnone.so.1 --new /tmp", "libswap scan libnone.so.1"),
        ("live libnone.so.1 --settle", "libswap scan libnone.so.1"),
    ],
)
def test_an_option_that_is_missing_or_out_of_place_is_named(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words.split(), "--json"]) == UsageError.exit_code
    assert said in document(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("words", ["handles draft /nope", "handles show /nope.toml"])
def test_a_file_that_is_not_there_is_no_fault_of_ours(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words.split(), "--json"]) == SystemRefused.exit_code
    assert "/nope" in document(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    "words",
    ["revert", "status", "status --settle", "patch list", "patch status", "patch verify",
     "patch revert", "live LIB --settle --pid", "live LIB --pid"],
)  # fmt: skip
def test_a_process_that_was_named_and_is_not_there_is_an_error(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    library = next(m.path for m in psutil.Process().memory_maps() if "libc.so" in m.path)
    given = [library if word == "LIB" else word for word in words.split()]
    assert run([*given, str(1 << 30), "--json"]) == ProcessGone.exit_code
    assert document(capsys.readouterr().out)["error"]["class"] == "ProcessGone"


@every_command
def test_every_word_of_every_command_is_explained(name: str) -> None:
    assert EVERY[name].help
    for parameter in EVERY[name].params:
        assert parameter.help, f"{name}: {parameter.name} has no help text"


@every_command
def test_what_changes_something_can_be_tried_dry(name: str) -> None:
    assert name in CHANGE_NOTHING or "--dry-run" in options(name)


@every_command
def test_a_wrong_option_is_a_usage_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--no-such-option"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("libswap: No such option")
    assert f"libswap {name} --help" in err


def test_a_wrong_command_is_a_usage_error() -> None:
    seen = libswap("sacn")
    assert (seen.code, seen.out) == (2, "")
    assert "No such command 'sacn'" in seen.err


def test_a_group_without_a_command_is_a_usage_error() -> None:
    seen = libswap("patch")
    assert (seen.code, seen.out) == (2, "")
    assert seen.err.splitlines() == ["libswap: Missing command.", "  See: libswap patch --help"]


def test_no_words_show_what_there_is() -> None:
    seen = libswap()
    assert seen.code == 2
    assert all(name in seen.out for name in COMMANDS)


def test_a_word_from_a_stranger_reaches_the_terminal_escaped() -> None:
    seen = libswap("\x1b[2J\nroot")
    assert seen.code == 2
    assert "\x1b" not in seen.err


# --- documents ---


@every_command
def test_a_wrong_option_with_json_is_one_document(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*name.split(), "--no-such-option", "--json"]) == 2
    out, err = capsys.readouterr()
    said = document(out)
    assert (err, said["exit_code"]) == ("", 2)
    assert (said["command"], said["error"]["class"]) == (name, "UsageError")


def test_a_group_of_commands_is_known_as_one() -> None:
    assert set(GROUPS) == {name.split()[0] for name in EVERY if " " in name}


def test_a_word_that_no_command_of_a_group_has_is_not_taken_for_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["patch", "mend", "--json"]) == 2
    assert document(capsys.readouterr().out)["command"] == "patch"


@every_command
def test_json_is_one_document_that_the_schema_describes(name: str, state_dir: Path) -> None:
    seen = libswap(*harmless(name, state_dir), "--json")
    said = document(seen.out)
    assert said["exit_code"] == seen.code
    assert seen.err == ""


def test_exit_codes_are_documented_as_the_error_classes_have_them() -> None:
    text = (REFERENCE / "exit-codes.md").read_text()
    documented = dict(re.findall(r"^\| ([0-9]+) \| `(\w+)`", text, re.MULTILINE))

    # A class that only other classes are made of has no code of its own.
    classes = {str(c.exit_code): c.__name__ for c in error_classes() if "exit_code" in vars(c)}
    del classes["2"]  # described in words, together with the parser's own
    assert documented == classes


# --- terminals, pipes, and what is wrong with them ---


def test_a_terminal_gets_colours_and_may_refuse_them() -> None:
    def on(**environment: str) -> str:
        return on_terminal(program=SHOWING_A_TABLE, environment=environment).out

    assert "\x1b[1;31m" in on()
    assert "\x1b[1;31m" not in on(NO_COLOR="1")
    assert "\x1b[" not in on(TERM="dumb")
    assert "\x1b[" not in libswap(program=SHOWING_A_TABLE).out


def test_a_narrow_terminal_gets_narrow_tables_and_a_pipe_one_line_for_a_row() -> None:
    coloured = on_terminal(program=SHOWING_A_TABLE, columns=50).out
    assert max(map(len, re.sub("\x1b\\[[0-9;]*m", "", coloured).splitlines())) <= 50
    wished = libswap(program=SHOWING_A_TABLE, environment={"COLUMNS": "50"}).out
    assert max(map(len, wished.splitlines())) <= 50
    assert "does not fit into fifty columns" in libswap(program=SHOWING_A_TABLE).out


def test_progress_is_one_line_of_a_terminal_and_nothing_in_a_pipe() -> None:
    program = (
        sys.executable,
        "-c",
        (
            "from libswap.report.console import ConsoleReporter as C; c = C();"
            " c.progress('one \\x1b[2J' + 200 * 'x'); c.progress('two'); c.note('done')"
        ),
    )
    shown = on_terminal(program=program, columns=50).out
    assert shown.count("\r\x1b[2K") == 2
    assert max(map(len, shown.replace("\r\x1b[2K", "\n").splitlines())) < 50
    assert "\x1b[2J" not in shown
    assert shown.endswith("done\r\n")
    assert libswap(program=program).err == "done\n"


def test_an_output_that_knows_only_ascii_gets_escapes() -> None:
    seen = libswap(program=SHOWING_A_TABLE, environment={"PYTHONIOENCODING": "ascii"})
    assert seen.code == 0
    assert "\\u2192" in seen.out


ANSWERS = ["history", "history --json", "scan", "nonsense --json", "--help", "--version", "-V"]
"""Words that are answered at once, with a result or an error document."""


@pytest.mark.parametrize("words", ANSWERS)
def test_a_reader_that_has_gone_ends_it_quietly(words: str) -> None:
    read, write = os.pipe()
    os.close(read)
    seen = libswap(*words.split(), stdout=write)
    os.close(write)
    assert (seen.code, seen.err) == (ReaderGone.exit_code, "")


@pytest.mark.parametrize("words", ANSWERS)
def test_a_full_output_is_an_error_in_words(words: str) -> None:
    with Path("/dev/full").open("w") as full:
        seen = libswap(*words.split(), stdout=full)
    assert seen.code == SystemRefused.exit_code
    assert "Traceback" not in seen.err


@pytest.mark.parametrize("words", ANSWERS)
def test_a_closed_output_is_an_error_in_words(words: str) -> None:
    line = 'exec "$@" >&-'
    seen = libswap(*words.split(), program=("sh", "-c", line, "sh", *LIBSWAP))
    assert seen.code == SystemRefused.exit_code
    assert "Traceback" not in seen.err


def test_an_interrupt_ends_it_without_a_traceback(tmp_path: Path) -> None:
    """The compiler of this demo says that it runs, and does not end."""
    fifo = tmp_path / "running"
    os.mkfifo(fifo)
    code = (
        "import sys\n"
        "from libswap.operations.demo import workshop\n"
        "from libswap.__main__ import main\n"
        f"line = 'echo > {fifo}; exec tail -f /dev/null'\n"
        "workshop._compiler = lambda: ('/bin/sh', '-c', line, 'sh')\n"
        "sys.argv[1:] = ['demo']; sys.exit(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    running = os.open(fifo, os.O_RDWR)  # so that neither side waits for the other to open it
    with process, os.fdopen(running, "rb", buffering=0) as compiler:
        assert compiler.read(1) == b"\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")


# --- what is not needed is not there ---


def test_version_is_answered_before_typer_or_rich_is_imported() -> None:
    assert not modules_after(["--version"]) & {"typer", "click", *HEAVY}
    assert libswap("--version").out == libswap("-V").out != ""


def test_help_imports_nothing_heavy() -> None:
    assert not modules_after(*([*name.split(), "--help"] for name in EVERY)) & HEAVY


def test_a_scan_for_programs_imports_nothing_heavy_but_what_tells_users_and_commands() -> None:
    assert not modules_after(["scan", "--json"]) & HEAVY


def test_bash_completes_commands_and_options() -> None:
    script = (
        'PATH="$1:$PATH"; eval "$(_LIBSWAP_COMPLETE=source_bash libswap)"\n'
        'COMP_WORDS=(libswap "$2" "$3"); COMP_CWORD=$4; _libswap_completion libswap\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def complete(*typed: str, word: int) -> list[str]:
        bash = ["bash", "-c", script, "bash", str(Path(sys.executable).parent), *typed, str(word)]
        done = subprocess.run(bash, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("de", "", word=1) == ["demo"]
    assert set(complete("", "", word=1)) >= set(COMMANDS)
    assert "--json" in complete("demo", "--", word=2)
