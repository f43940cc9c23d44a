"""Write what the stages of benchmarks.gpu found as a Markdown table."""

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 3  # checks that fail in a cell


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row for each stage, below the machines and versions that they ran on."""
    machines = dict.fromkeys(_machine(record) for record in records)
    rows = [(record["stage"], _outcome(record), f"{record['seconds']:.0f} s", _cell(record)) for record in records]
    lines = ["| stage | result | time | figures |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*machines, "", *lines])


def _machine(record: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version is not None)
    return f"{record['machine']}, {versions}, {record['date'].partition(' ')[0]}"


def _outcome(record: Mapping[str, Any]) -> str:
    if record["obstacle"] is not None:
        return str(record["obstacle"])
    return "well" if record["rc"] == 0 else "time limit" if record["rc"] == 124 else f"exit code {record['rc']}"


def _cell(record: Mapping[str, Any]) -> str:
    return "; ".join(figure for result in record["results"] for figure in figures(result)).replace("|", "\\|")


def figures(result: Mapping[str, Any]) -> list[str]:
    """Return the figures of what one command of a stage wrote, a phrase each."""
    found = [f"{name} {value:.4g}" for name, value in result.get("limits", {}).items()]
    if checks := result.get("checks"):
        found += _checks(checks)
    for size, row in result.get("batches", {}).items():
        speed, busy = row["epoch"]["ours"], row["gemm_share"]
        found.append(f"batch {size}: {speed:,.0f} frames/s in {row['precision']}, {busy:.0%} of the best products, ")
        found[-1] += ", ".join([f"{row['memory_gb']:.1f} GB", *row["remarks"]])
    for peer, sizes in result.get("ratios", {}).items():
        found += [f"{ratio['epoch']:.1f} times {peer} at {size}" for size, ratio in sizes.items()]
    return [*found, *result.get("figures", [])]


def _checks(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count the checks that hold, name those that do not, or else the one that is closest to its bound."""
    wrong = [check for check in checks if not check["holds"]]
    found = [f"{len(checks) - len(wrong)} of {len(checks)} checks hold"]
    found += [f"WRONG: {check['name']}{_measured(check)} {check['note']}".rstrip() for check in wrong[:SHOWN]]
    bounded = [check for check in checks if check["bound"] and check["figure"] is not None]
    if bounded and not wrong:
        closest = max(bounded, key=lambda check: check["figure"] / check["bound"])
        found.append(f"closest: {closest['name']}{_measured(closest)}")
    return found


def _measured(check: Mapping[str, Any]) -> str:
    figure = "" if check["figure"] is None else f" {check['figure']:.2g}"
    return figure + ("" if check["bound"] is None else f" (at most {check['bound']:g})")
