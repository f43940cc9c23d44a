"""Read YAML that people write: errors name the line of a mistake, and the nearest known name for a misspelt one."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as in YAML 1.2, and a duplicate key is a mistake instead of overriding the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        first = {key.value: key for key in reversed(keys)}
        for key in keys:
            if key is not first[key.value]:
                raise yaml.MarkedYAMLError(None, None, f"{key.value} is given twice: keep one", key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def parse(text: str) -> Any:
    """Return the value of a YAML document. Raises ValueError with the line where it is not valid YAML."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("need YAML, got brackets nested too deeply: close them") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{line}need valid YAML: {getattr(error, 'problem', None) or error}") from None


def read(path: Path) -> Any:
    """Return the value of a YAML file. Raises ValueError where it cannot be read or is not valid YAML."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"need a file that can be read, got {error.strerror or error}: check the path") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"need UTF-8, got an invalid byte at position {error.start}: save the file as UTF-8") from None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` most likely means, or None; for dotted names the last part alone is enough."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return close[0]
    by_last_part = {candidate.rpartition(".")[2]: candidate for candidate in reversed(names)}
    close = difflib.get_close_matches(name.rpartition(".")[2], by_last_part, n=1)
    return by_last_part[close[0]] if close else None


def way_out(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the nearest one, or all of them where none is near."""
    names = list(known)
    close = nearest(name, names)
    return f"did you mean {close}?" if close else f"choose one of {', '.join(names)}"
