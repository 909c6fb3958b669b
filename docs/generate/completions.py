"""What shells load to complete the words of libswap."""

from typer.completion import get_completion_script

SHELLS = {"bash": "libswap.bash", "zsh": "_libswap", "fish": "libswap.fish"}


_AUTOLOADED = """
# Loaded from the path of functions, it is called for the first words too (zshcompsys(1)).
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _libswap_completion "$@"; fi
"""


def completions() -> dict[str, str]:
    """Each script by its file name."""
    return {
        file: get_completion_script(
            prog_name="libswap", complete_var="_LIBSWAP_COMPLETE", shell=shell
        ).strip()
        + (_AUTOLOADED if shell == "zsh" else "\n")
        for shell, file in SHELLS.items()
    }
