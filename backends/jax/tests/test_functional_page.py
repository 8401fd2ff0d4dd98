"""The scan in docs/functional.md runs."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "functional.md"


def test_code_of_the_page_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["sums"].shape == (1_000,)
    assert 80 < names["sums"][-1] < 97  # 32 rows of up to three rewards, discounted
