"""The code blocks of README.md and of the pages in docs/."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str = "python") -> list[str]:
    """Return the code blocks of ``page``, a path in the repository, without those marked "skip"."""
    return blocks_of((ROOT / page).read_text(), language)


def blocks_of(text: str, language: str = "python") -> list[str]:
    """Return the code blocks of ``text``."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def changed(block: str, changes: dict[str, str]) -> str:
    """Return ``block`` with every key of ``changes`` replaced; each must be there."""
    for old, new in changes.items():
        assert old in block, f"{old!r} is not in the block"
        block = block.replace(old, new)
    return block
