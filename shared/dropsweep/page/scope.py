"""The report's style sheet for a part of somebody else's page, such as a notebook: within one element and no further.

The sheet is nested as it stands (CSS Nesting Module, in all browsers since the end of 2023). By day or by night is what
the notebook says, where it does (JupyterLab, Visual Studio Code, Colab), and else what the system says. The element has
a background of its own, so that it can be read where the two disagree.
"""

import re
from typing import Final

from dropsweep.page.style import DAY_TONES, NIGHT_TONES, SHEET

SCOPE: Final = "dropsweep"
"""The class of the element around everything."""
_SELECTOR: Final = f".{SCOPE}.{SCOPE}.{SCOPE}"
"""Thrice, to weigh more than what notebooks say of tables."""
_SAID_LIGHT: Final = ('[data-jp-theme-light="true"]', ".vscode-light", ".vscode-high-contrast-light", "[theme=light]")
_SAID_DARK: Final = ('[data-jp-theme-light="false"]', ".vscode-dark", ".vscode-high-contrast", "[theme=dark]")
_OWN: Final = """
& { padding: 14px 20px 18px; border: 1px solid var(--rule); border-radius: 10px; max-width: 1180px; }
h3.job { font-size: 17px; }
.hero { margin-top: 14px; padding: 14px 20px; }
.big { font-size: 32px; }
.pair { margin-top: 18px; }
table { width: auto; min-width: 50%; margin: 0; border: 0; }
tbody tr, thead, thead tr { background: none; border: 0; }
tbody tr:hover { background: var(--tint); }
th, td { color: inherit; max-width: none; }
"""


def _rules(sheet: str, begin: str) -> tuple[str, str]:
    """Takes the block that begins with `begin` out of a sheet; returns what is in it, and the rest."""
    start = sheet.index(begin)
    inside = start + len(begin)
    end = inside + re.search(r"^}", sheet[inside:], re.M).start()  # type: ignore[union-attr]
    return sheet[inside:end], sheet[:start] + sheet[end + 1 :]


def _scoped() -> str:
    night, rest = _rules(SHEET, "@media screen and (prefers-color-scheme: dark) {")
    _, day = _rules(rest, "@media print {")
    day, night = (re.sub(r"(:root|\bbody) \{", "& {", text) for text in (day, night))
    day = day.replace("color-scheme: light dark", "color-scheme: light")
    by_night = f"& {{ color-scheme: dark; }}\n{NIGHT_TONES}\n{night}"
    unsaid = "".join(f":not({said})" for said in _SAID_LIGHT)
    dark = ", ".join(f"{said} &" for said in _SAID_DARK)
    nested = (
        f"{DAY_TONES}\n{day}\n{_OWN}\n"
        f"@media (prefers-color-scheme: dark) {{ html{unsaid} body{unsaid} & {{ {by_night} }} }}\n"
        f"{dark} {{ {by_night} }}"
    )
    return f"{_SELECTOR} {{\n{nested}\n}}\n"


SCOPED_CSS: Final = _scoped()
"""A style sheet that touches nothing outside the element of class `SCOPE`."""
