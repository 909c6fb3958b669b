"""What shells load to complete the words of libswap."""

from typer.completion import get_completion_script

SHELLS = {"bash": "libswap.bash", "zsh": "_libswap", "fish": "libswap.fish"}


def completions() -> dict[str, str]:
    """Each script by its file name."""
    return {
        file: get_completion_script(
            prog_name="libswap", complete_var="_LIBSWAP_COMPLETE", shell=shell
        ).strip()
        + "\n"
        for shell, file in SHELLS.items()
    }
