"""Where it cannot work, the refusal is exact and the target untouched."""

import os
import signal
import subprocess

import pytest

from libswap.errors.process import (
    ProcessGone,
    ProcessZombie,
    SeccompForbids,
    TracedByAnother,
    TracingForbidden,
    WrongProgramClass,
)
from libswap.live.calls import Call, Returned
from libswap.live.refusal import needs_lifting, require_fit
from libswap.live.tracee import Tracee
from libswap.process.identity import Identity
from support.compiler import Compiler
from support.target import RTLD_NOW, borrowed, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


def test_an_ordinary_process_is_fit(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        require_fit(target.identity)
        target.say("report")
        assert target.line().split()[1:3] == ["0", "0"]


def test_a_zombie(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        os.kill(target.pid, signal.SIGKILL)
        os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessZombie) as caught:
            require_fit(target.identity)
        assert caught.value.parent == os.getpid()


def test_a_process_that_has_ended(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        target.process.kill()
        target.process.wait()
        with pytest.raises(ProcessGone):
            require_fit(target.identity)


def test_a_traced_process_names_its_tracer(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target, Tracee.seize(target.identity):
        with pytest.raises(TracedByAnother) as caught:
            require_fit(target.identity)
        assert caught.value.tracer == os.getpid()


def test_a_32_bit_process(compiler: Compiler) -> None:
    try:
        program = compiler.program("live/sleeps.c", "-m32")
    except AssertionError:
        pytest.skip("the compiler makes no 32-bit programs (gcc-multilib)")
    with running(program) as target, pytest.raises(WrongProgramClass) as caught:
        require_fit(target.identity)
    assert caught.value.program_class == "32-bit"


@pytest.mark.root
def test_another_users_process(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setuid(65534)
                require_fit(target.identity)
            except TracingForbidden as error:
                code = 0 if error.reason == "it belongs to user 0" else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_seccomp_strict(compiler: Compiler) -> None:
    with running(compiler.program("live/confined.c"), "strict") as target:
        with pytest.raises(SeccompForbids):
            require_fit(target.identity)
        target.say("")
        assert target.line() == "here"


@pytest.mark.root
def test_a_seccomp_filter_that_kills_is_lifted_meanwhile(compiler: Compiler) -> None:
    path = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/confined.c")) as target:
        require_fit(target.identity)
        assert needs_lifting(target.pid)
        with borrowed(target, lift_seccomp=True) as thread:
            outcome = thread.run([Call(target.function("dlopen"), (path, RTLD_NOW))], timeout=5)
        assert isinstance(outcome, Returned)
        assert outcome.results[0]
        target.say("")
        assert target.line() == "here"


def test_a_debugger_is_named(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        try:
            gdb = subprocess.Popen(
                ["gdb", "-q", "-p", str(target.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except FileNotFoundError:
            pytest.skip("gdb is not installed")
        assert gdb.stdin
        assert gdb.stdout
        gdb.stdin.write("echo attached\\n\n")
        gdb.stdin.flush()
        while "attached" not in gdb.stdout.readline():
            pass
        with pytest.raises(TracedByAnother) as caught:
            require_fit(Identity.of(target.pid))
        assert caught.value.name == "gdb"
        gdb.communicate("detach\nquit\n")
