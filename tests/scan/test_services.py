import subprocess
from pathlib import Path

import pytest

from libswap.scan.pid_files import read_pid_files, service_of_script
from libswap.scan.services import Service, service_of_cgroup, shell_line

ID = "0123456789ab" + "c" * 52
POD = "00000000-1111-2222-3333-444444444444"


def _of(path: str, users: dict[int, str] | None = None) -> Service | None:
    return service_of_cgroup(f"0::{path}\n".encode(), lambda uid: (users or {}).get(uid, str(uid)))


@pytest.mark.parametrize(
    ("path", "name", "restart"),
    [
        ("/system.slice/ssh.service", "ssh.service", "systemctl restart ssh.service"),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service",
         "postgresql@15-main.service", "systemctl restart postgresql@15-main.service"),
        ("/system.slice/app.service/made-by-itself/evil.service", "app.service",
         "systemctl restart app.service"),
        ("/system.slice/ssh.service (deleted)", "ssh.service", "systemctl restart ssh.service"),
        ("/init.scope", "systemd", "systemctl daemon-reexec"),
        ("/user.slice/user-1000.slice/session-3.scope", "session 3", ""),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/emacs.service",
         "emacs.service of ada", "systemctl --user --machine=ada@.host restart emacs.service"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "manager of ada",
         "systemctl --user --machine=ada@.host daemon-reexec"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-x-7.scope",
         "app-gnome-x-7.scope of ada", ""),
        (f"/system.slice/docker-{ID}.scope", "docker 0123456789ab", "docker restart 0123456789ab"),
        (f"/docker/{ID}/system.slice/inner.service", "docker 0123456789ab",
         "docker restart 0123456789ab"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman 0123456789ab",
         "podman restart 0123456789ab"),
        (f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope",
         f"pod {POD}, container 0123456789ab",
         "crictl stop 0123456789ab"),
        ("/lxc.payload.web/system.slice/nginx.service", "lxc web", "lxc-stop --reboot --name=web"),
        ("/lxc/old/init", "lxc old", "lxc-stop --reboot --name=old"),
        (r"/machine.slice/machine-deb\x2d12.scope", "machine deb-12", "machinectl reboot deb-12"),
        ("/machine.slice/systemd-nspawn@deb.service/payload", "systemd-nspawn@deb.service",
         "systemctl restart systemd-nspawn@deb.service"),
    ],
)  # fmt: skip
def test_a_cgroup_path_names_the_service_and_its_restart(
    path: str, name: str, restart: str
) -> None:
    service = _of(path, {1000: "ada"})
    assert service is not None
    assert (service.name, service.restart) == (name, restart)
    assert service.restart or service.advice


def test_the_older_hierarchies_are_read_too() -> None:
    text = b"12:cpu,cpuacct:/\n1:name=systemd:/system.slice/cron.service\n0::/\n"
    service = service_of_cgroup(text)
    assert service is not None
    assert service.name == "cron.service"
    docker = service_of_cgroup(f"4:memory:/docker/{ID}\n1:name=systemd:/\n0::/\n".encode())
    assert docker is not None
    assert docker.name == "docker 0123456789ab"


@pytest.mark.parametrize("path", ["", "/", "/user.slice", "/../..", "/some/dir"])
def test_a_path_without_a_unit_is_no_service(path: str) -> None:
    assert _of(path) is None


@pytest.mark.parametrize(
    ("name", "restart"),
    [("x; rm -rf $HOME.service", "systemctl restart 'x; rm -rf $HOME.service'"),
     ("--now.service", "systemctl restart -- --now.service"),
     ("a'b.service", """systemctl restart 'a'"'"'b.service'"""),
     ("a\x1b[2J'.service", r"systemctl restart $'a\x1b[2J\x27.service'")],
)  # fmt: skip
def test_a_hostile_unit_name_stays_one_harmless_word(name: str, restart: str) -> None:
    service = _of(f"/system.slice/{name}")
    assert service is not None
    assert service.restart == restart


def test_an_escaped_word_comes_out_of_a_shell_as_it_went_in() -> None:
    words = ["printf", "%s", "ü\n\t'\\\"$x\x07\udcff"]
    line = shell_line(words)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout == words[2].encode("utf-8", "surrogateescape")


def test_a_pid_file_names_the_script_of_a_daemon_and_its_workers(tmp_path: Path) -> None:
    (tmp_path / "nginx.pid").write_text("41\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.pid").write_text("junk")
    (tmp_path / "link.pid").symlink_to("nginx.pid")
    scripts = tmp_path / "init.d"
    scripts.mkdir()
    (scripts / "nginx").touch()
    found = read_pid_files(tmp_path)
    assert found == {41: "nginx"}
    service = service_of_script([77, 41, 1], found, scripts)
    assert service is not None
    assert service.restart == "service nginx restart"
    assert service_of_script([77, 1], found, scripts) is None
