"""A search for transients, stage by stage beside its peers, on simulated pairs with known truth.

Every stage is given what the stages before it made of the raw section, with its cosmic rays and
its wrong header; ``--from-truth`` gives stages the truth instead. The CPU ratio (peer over
firstlight) is the figure; seconds depend on the machine. Run with::

    OMP_NUM_THREADS=1 python benchmarks/bench_transients.py --seeds 1 2 3
    python benchmarks/bench_transients.py --rows 1024 --columns 1024 --no-peers
    python benchmarks/bench_transients.py --stages subtraction candidates --set fwhm=5 sky=4000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import transient_chain as chain
import transient_judging as judge
from extraction import least
from firstlight.simulation.transient_pair import PairSettings, simulate_pair
from meter import Row, Spent, report
from peers import versions
from transient_peers import PEERS, Peer, stdpipe_flow
from transient_stages import STAGES, Stage, Work, prepare_reference

HERE = Path(__file__).parent
PROGRAMS = ("psfex", "SWarp", "hotpants")
WHOLE = "chain"
COUNTED = ("found", "of", "false +", "false -", "at cores")
STAGED = "chain, stage by stage"


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore")
    installed = available() if options.peers else {}
    rows: dict[tuple[str, str], Row] = {}
    size = f"{options.rows} x {options.columns}"
    with tempfile.TemporaryDirectory(prefix="transients-", dir=options.work) as folder:
        tell("warming up")
        measure(options, warm_up(options), Path(folder), {}, installed={}, size="")
        for seed in options.seeds:
            tell(f"seed {seed}")
            settings = PairSettings.of_size(
                options.rows, options.columns, seed=seed, **changes(options.set)
            )
            measure(options, settings, Path(folder), rows, installed=installed, size=size)
    facts = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "load": round(os.getloadavg()[0], 2),
        "section": size,
        "seeds": options.seeds,
        "changed": options.set,
        "from truth": options.from_truth,
        "peak MB of this process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": installed,
    }
    everything = list(rows.values())
    print("\n" + report(everything) + "\n")
    print(totals(everything))
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    if options.out is not None:
        options.out.write_text(
            json.dumps({**facts, "rows": [row.as_dict() for row in everything]}, indent=1)
        )


def parse() -> argparse.Namespace:
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--stages", nargs="+", choices=names, default=names, help="judged ones")
    parser.add_argument(
        "--from-truth", nargs="+", choices=names, default=[], help="replaced by the truth"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="of the pair")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--no-chain", dest="chain", action="store_false")
    parser.add_argument("--repeats", type=int, default=2, help="of ours; the cheapest counts")
    parser.add_argument("--work", type=Path, default=None, help="folder for temporary files")
    parser.add_argument("--out", type=Path, default=None, help="JSON file with every figure")
    return parser.parse_args()


def changes(pairs: list[str]) -> dict[str, object]:
    """Settings as they were typed: ``fwhm=5``, ``dither=[1,2]``."""
    return {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in pairs)}


def warm_up(options: argparse.Namespace) -> PairSettings:
    """A pair small enough to cost little and large enough for every stage to compile."""
    rows, columns = min(options.rows, 512), min(options.columns, 512)
    return PairSettings.of_size(rows, columns, seed=987, transients=3, stars=400)


def available() -> dict[str, str]:
    found = versions()
    found |= {name: "?" for name in PROGRAMS if shutil.which(name)}
    for peer in PEERS:
        if peer.needs not in found:
            print(f"{peer.needs} is not installed: left out")
    return found


def measure(
    options: argparse.Namespace,
    settings: PairSettings,
    folder: Path,
    rows: dict[tuple[str, str], Row],
    *,
    installed: dict[str, str],
    size: str,
) -> None:
    """One pair through all stages; a row for each tool and stage."""
    work = Work(simulate_pair(settings), folder)
    name = f"seed {settings.seed}"
    prepare_reference(work, truth="psf" in options.from_truth)
    for stage in STAGES:
        judged = stage.name in options.stages and stage.name not in options.from_truth
        if judged:
            row = rows.setdefault(
                (stage.name, "firstlight"), Row(stage.name, size, "firstlight", base=True)
            )
            peers = [p for p in PEERS if p.stage == stage.name and p.needs in installed]
            # What peers are given must not hold this stage's own answer, and they need its width.
            run_ours(stage, work, row, name, options.repeats)
            for peer in peers:
                theirs = rows.setdefault((stage.name, peer.name), Row(stage.name, size, peer.name))
                run_theirs(peer, work, theirs, name)
        elif stage.name in options.from_truth or stage.missing:
            stage.truth(work)
        else:
            stage.ours(work)
    if rows and work.found is not None:
        for line in judge.lost(work.pair, work.found):
            print(f"{name}: lost {line}")
    if rows and options.chain:
        whole_chain(work, rows, name, installed=installed, size=size, repeats=options.repeats)


def whole_chain(
    work: Work,
    rows: dict[tuple[str, str], Row],
    name: str,
    *,
    installed: dict[str, str],
    size: str,
    repeats: int,
) -> None:
    """From the same raw section to what is saved: ours stage by stage, and STDPipe's flow."""
    row = rows.setdefault((WHOLE, "firstlight"), Row(WHOLE, size, "firstlight", base=True))
    row.note = "as the command `subtract` does it; candidates after all cuts, and before"
    reference = chain.reference_bench(work.pair)
    runs = [judged_run(work, reference) for _ in range(max(repeats, 1))]
    spent, stages, quality = min(runs, key=lambda run: run[0].cpu)
    row.add(name, spent, quality)
    for stage, seconds in stages.items():
        part = rows.setdefault((STAGED, stage), Row(STAGED, size, stage))
        part.add(name, Spent(seconds, float("nan")), {})
    if "stdpipe" in installed and "hotpants" in installed:
        theirs = rows.setdefault((WHOLE, "STDPipe"), Row(WHOLE, size, "STDPipe"))
        stdpipe_flow(work, theirs, name)


def judged_run(
    work: Work, reference: chain.Bench
) -> tuple[Spent, dict[str, float], dict[str, float]]:
    """What the chain costs, as a whole and by stage, and its figures.

    Its images are let go, so that the next run finds memory as a worker's next section does.
    """
    run = chain.whole_chain(work.pair, reference, work.folder)
    return run.spent, run.stages, chain.judged(work.pair, run)


def run_ours(stage: Stage, work: Work, row: Row, name: str, repeats: int) -> None:
    if stage.missing:
        row.note = f"not there yet: {', '.join(stage.missing)}; the truth stands in"
        stage.truth(work)
        return
    try:
        spent = least(lambda: stage.ours(work), repeats)
        row.add(name, spent, stage.judge(work))
    except Exception as fault:  # noqa: BLE001, a failed stage is a figure; the next get the truth
        traceback.print_exc()
        row.failures.append(f"{name}: {type(fault).__name__}: {fault}")
        stage.truth(work)


def run_theirs(peer: Peer, work: Work, row: Row, name: str) -> None:
    try:
        action, judge = peer.prepare(work)
        answer: list[object] = []
        spent = least(lambda: answer.append(action()), 1)
        row.add(name, spent, judge(answer[-1]))
    except Exception as fault:  # noqa: BLE001, a fault of a peer is a figure here
        print(f"{peer.name}: {type(fault).__name__}: {fault}")
        row.failures.append(f"{name}: {type(fault).__name__}: {fault}")


def totals(rows: list[Row]) -> str:
    """CPU of all of firstlight's stages together, and what was found over all seeds."""
    ours = [row for row in rows if row.base and row.cpu and row.part != WHOLE]
    seconds = sum(sum(row.cpu) / len(row.cpu) for row in ours)
    lines = [f"firstlight's stages together: {seconds:.2f} CPU s a pair"]
    lines += [
        "means of the whole chain: "
        + ", ".join(f"{key} {np.nanmean(values):.3g}" for key, values in row.quality.items())
        for row in rows
        if row.part == WHOLE and row.base
    ]
    for row in rows:
        if "found" not in row.quality:
            continue
        sums = ", ".join(f"{key} {sum(row.quality[key]):.0f}" for key in COUNTED)
        lines.append(f"{row.part}, {row.tool}: {sums} over {len(row.frames)} pairs")
    return "\n".join(lines)


def tell(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
