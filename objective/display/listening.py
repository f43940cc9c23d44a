"""Parts of the pages that a person listens to: each is one HTML file that needs nothing else."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from objective.display import heard
from storage.artifacts import KINDS

# The policy in the first lines keeps the page from loading anything, whatever a reason or a name contains.
TOP = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8882; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.4rem; margin: .2rem 0; }} h2 {{ font-size: 1.1rem; margin: 1.5rem 0 .5rem; }}
.board {{ display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; list-style: none; }}
.board li {{ background: var(--soft); border-radius: .5rem; padding: .4rem .8rem; }}
.board b {{ display: block; font-size: 1.2rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
td.long {{ min-width: 16rem; }}
details {{ border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .4rem .8rem; }}
summary {{ cursor: pointer; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; font-size: .85rem; overflow-wrap: anywhere; }}
dt, .quiet {{ opacity: .7; }} dd {{ margin: 0; }}
img {{ max-width: 100%; height: auto; display: block; margin: .5rem 0; border-radius: .3rem; background: #fff; }}
.listen {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .5rem 1rem; }}
figure {{ margin: 0; }} audio {{ width: 100%; display: block; margin-top: .2rem; }}
figcaption q {{ display: block; font-size: .85rem; opacity: .7; }}
.healthy {{ color: #2a9d4a; }} .sick {{ color: #b7791f; }} .pruned {{ color: #1f8a99; }} .failed {{ color: #d1495b; }}
@media (max-width: 40rem) {{ .long {{ display: none; }} th, td {{ padding: .3rem; }} }}
</style>
"""


def page(title: str, results: Iterable[str], head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render results as a list of HTML, then a table of players: `head` are texts, the cells of `rows` are HTML."""
    items = "".join(f"<li>{result}</li>\n" for result in results)
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return (
        f"{TOP.format(title=escape(title))}<h1>{escape(title)}</h1>\n<ul>{items}</ul>\n"
        f'<table style="width: 100%"><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table>\n</html>\n'
    )


def player(title: str, data: str, words: str | None) -> str:
    """Render a player; `words` are what was said or heard, None where that is not known."""
    said = "" if words is None else f"<q>{escape(words or heard.NOTHING)}</q>"
    return f'<figure><figcaption>{title}{said}</figcaption><audio controls preload="none" src="{data}"></audio></figure>\n'


def sound(folder: Path, name: str) -> str:
    """Return a URI that holds the sound of this name, the smaller Ogg file if there is one; "" where there is none."""
    return data(folder / f"{name}.ogg") or data(folder / f"{name}.wav")


def data(file: Path) -> str:
    """Return a URI that holds the file; "" where there is none."""
    try:
        return uri(file.read_bytes(), file.suffix)
    except FileNotFoundError:
        return ""


def uri(content: bytes, suffix: str) -> str:
    """Return a URI that holds a file's bytes; `suffix` says what they are, such as .ogg."""
    return f"data:{KINDS[suffix]};base64,{b64encode(content).decode()}"
