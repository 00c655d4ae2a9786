"""Sections of pages that benchmarks write. Pure."""

import re


def written(page: str, title: str, made: str) -> str:
    """The page with a section, which begins with its title, new or for the first time.

    It reaches to the next title of its level, or of one above.
    """
    level = title.partition(" ")[0]
    section = re.compile(rf"{re.escape(title)}\n.*?(?=\n#{{1,{len(level)}}} |\Z)", re.DOTALL)
    if section.search(page):
        return section.sub(lambda _: made, page)
    return f"{page.rstrip()}\n\n{made}"
