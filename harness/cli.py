"""The command line: run, report, export, list, search, answers, doctor, bench, gate.

Exit codes: 0 done · 1 a cell failed, or something is missing · 2 a request that cannot be met (every HarnessError,
and wrong usage) · 3 a fault of the program itself · 130 interrupted · 141 nobody reads the output any more.
"""

from __future__ import annotations

import errno
import io
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import __version__
from harness.console_verify import verify
from harness.data_commands import data
from harness.errors import HarnessError, StorageError
from harness.printable import printable
from harness.terminal import (
    DatasetOption,
    ReaderGoneError,
    RunFolderArgument,
    SystemsOption,
    names_of,
    say,
    terminal,
)
from reports.commands import commands
from reports.paper.commands import paper

if TYPE_CHECKING:
    from harness.experiment import Experiment
    from harness.runner import Summary

INCOMPLETE, REFUSED, FAULT, INTERRUPTED, UNREAD = 1, 2, 3, 130, 141

REFUSALS = {
    getattr(errno, name, None): what
    for name, what in {
        "ENOSPC": "the disk is full",
        "EDQUOT": "the quota of the disk is used up",
        "EROFS": "the disk may only be read",
        "EACCES": "no permission",
        "EPERM": "no permission",
        "ENAMETOOLONG": "the name is too long",
        "ENOTDIR": "a part of the path is a file",
    }.items()
}
"""Error numbers of a file system that refuses, in words."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


bench = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Time the engine against other ways, on this machine, in one run."
)
app.add_typer(bench, name="bench")
app.add_typer(data, name="data")
app.add_typer(commands)
app.add_typer(paper, name="paper")
app.command()(verify)


class Kind(StrEnum):
    """What `harness list` lists."""

    systems = "systems"
    datasets = "datasets"
    experiments = "experiments"
    measures = "measures"
    settings = "settings"


class Unit(StrEnum):
    """What `harness export` counts as found."""

    PASSAGE = "passage"
    DOCUMENT = "document"
    TITLE = "title"


@app.command()
def run(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A shipped experiment or a TOML file.")],
    *,
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run on this dataset instead; may be repeated.")
    ] = None,
    systems: SystemsOption = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. batch.size=8; may be repeated."),
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="NAME[@DATASET]=FILE",
            help="Take a TREC run file of a system that is not run here into the report; may be repeated.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder. [default: runs/EXPERIMENT]")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Run with this seed alone.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Evaluate only the first N queries.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every cell again, finished ones too.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Measure, but build no report.")] = False,
) -> None:
    """Run an experiment and build its report. Finished cells are kept and reused."""
    from harness import experiment as experiments

    chosen = experiments.load(experiment).with_overrides(
        datasets=dataset or None,
        systems=names_of(systems),
        sets=sets or (),
        seed=seed,
        limit=limit,
        runs=runs or (),
    )
    folder = out or Path("runs") / chosen.name
    say(f"experiment {chosen.name}, run folder {folder}")
    try:
        summary = _measure(chosen, folder, fresh, context.obj)
        failed = _conclude(summary)
        if no_report:
            say(str(folder))
        else:
            say("building the report")
            say(str(build_report(folder)))
    except KeyboardInterrupt:
        again = shlex.join(["harness", *(argument for argument in context.obj if argument != "--fresh")])
        earlier = ", and those that --fresh did not come to, with their earlier results" if fresh else ""
        _complain(
            f"\ninterrupted: finished cells are kept in {folder}{earlier}. To go on with the others:\n    {again}"
        )
        raise typer.Exit(INTERRUPTED) from None
    if failed:
        raise typer.Exit(INCOMPLETE)


@app.command()
def report(folder: RunFolderArgument) -> None:
    """Build the report of a run again, from what the run wrote."""
    say(str(build_report(folder)))


@app.command()
def export(
    folder: RunFolderArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    by: Annotated[
        Unit, typer.Option(help="What is judged and found: passages, or their documents or titles.")
    ] = Unit.PASSAGE,
) -> None:
    """Write the judgements and the hits of a run as plain TREC files, which trec_eval and its like read."""
    from harness.export import export as written

    done = written(folder, out, by)
    for name in done.files:
        say(str(out / name))
    if done.left_out:
        say(f"left out, because they have no result: {', '.join(done.left_out)}")


@app.command()
def keep(
    folder: RunFolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON file the results are kept in.")],
) -> None:
    """Put the results of a run into a small file to commit, in place of older ones; print the file as tables."""
    from harness import kept
    from reports.kept import markdown

    kept.keep(folder, file)
    say(markdown(file))


@app.command(name="list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]", help="Whose settings.")] = None,
) -> None:
    """List the systems, datasets, experiments or measures there are, or the settings of a system."""
    from harness import listing

    table = listing.listed(kind.value, system)
    console = terminal()
    if console:
        console.print(table.rich())
    else:
        say("\n".join(table.plain()))


@app.command()
def search(
    folder: RunFolderArgument,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask, in quotes.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Hits to show for each system.")] = 5,
    systems: SystemsOption = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Dataset of the run to search. [default: its first]")
    ] = None,
) -> None:
    """Ask the trained systems of a run a question. Their answers stand side by side."""
    from harness import console_search

    asked = console_search.Question.of(folder, question, names_of(systems), dataset)
    say(f"{asked.text!r} asked of {asked.dataset}; times are of the first search after loading")
    console = terminal()
    if console:
        with console.status("loading the systems"):
            answers = list(asked.answers(k))
        console.print(console_search.side_by_side(answers, console.width))
    else:
        for answer in asked.answers(k):
            say("\n".join(console_search.plain(answer)))
    if asked.others:
        say(f"the run also holds {', '.join(asked.others)}: choose with --dataset")


@app.command()
def answers(
    folder: RunFolderArgument,
    *,
    systems: SystemsOption = None,
    dataset: DatasetOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Ask only the first N queries.")] = 100,
) -> None:
    """Let the systems of a finished run answer in words, and add Exact Match and F1 to its report (Table 5)."""
    from harness import answers as answering
    from harness.bench.lines import Lines
    from harness.listing import Listing

    found = answering.measure(folder, systems=names_of(systems), dataset=dataset, limit=limit, progress=Lines(say))
    say("\n".join(Listing(*answering.listed(found)).plain()))
    say(str(build_report(folder)))


@app.command()
def doctor() -> None:
    """Look whether the default experiment can run here. Where it cannot, say what to do."""
    from harness import doctor as examination

    checks = []
    for check in examination.examine(Path("runs")):
        checks.append(check)
        say(f"{check.state:<8} {check.name:<34} {check.found}" + (f"\n{'':9}do: {check.fix}" if check.fix else ""))
    if examination.able(checks):
        say(f"ready: harness run {examination.DEFAULT_EXPERIMENT}")
        return
    missing = [check.name for check in checks if check.state == "missing"]
    say(f"harness run {examination.DEFAULT_EXPERIMENT} cannot work yet; missing: {', '.join(missing)}")
    raise typer.Exit(INCOMPLETE)


def build_report(folder: Path) -> Path:
    """Build the report of a run and return its page."""
    from reports.build import build

    return build(folder)


JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures (png, svg or pdf).")]


@bench.command(name="decode")
def bench_decode(
    *,
    json: JsonOption = None,
    plot: PlotOption = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Embedded model, a Hugging Face folder or name.")
    ] = "embedded",
    titles: Annotated[str, typer.Option(metavar="NAME", help="Dataset to decode titles of.")] = "vital-articles/10k",
    passages: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset to decode passages of, and to search as a whole.")
    ] = "vital-articles/1k",
    beam_size: Annotated[int, typer.Option(metavar="N", min=2, help="Beams of all.")] = 5,
    singles: Annotated[int, typer.Option(metavar="N", min=1, help="Queries asked alone.")] = 12,
    batch_size: Annotated[int, typer.Option(metavar="N", min=2, help="Queries asked together.")] = 32,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Batches timed.")] = 3,
    train_tokens: Annotated[
        int, typer.Option(metavar="N", min=0, help="Tokens of query -> title training beforehand; 0: none.")
    ] = 20_000,
) -> None:
    """Compare constrained decoding with `generate` and with the released way. Takes about 10 minutes on two cores."""
    from harness.bench import output
    from harness.bench.lines import Lines
    from reports import bench as drawn
    from selfretrieval.bench import Options, decode

    drawn.check(plot)
    options = Options(model, titles, passages, beam_size, singles, batch_size, rounds, train_tokens)
    figures = decode(options, Lines(say))
    tables = [drawn.decode_table(figures), drawn.exhaustive_table(figures)]
    output.publish(figures, tables, json, say)
    if plot:
        drawn.draw_decode(figures, plot)
        say(str(plot))


@bench.command(name="trie")
def bench_trie(
    *,
    json: JsonOption = None,
    plot: PlotOption = None,
    sizes: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of sequences.")
    ] = "10000,30000,100000,300000,1000000",
) -> None:
    """Grow a trie from titles of Wikipedia articles and ones mixed from them. Takes about half a minute."""
    from harness.bench import output, trie
    from harness.bench.lines import Lines
    from reports import bench as drawn

    drawn.check(plot)
    figures = trie.summarise(trie.run(trie.titles(), output.sizes_of(sizes), progress=Lines(say)))
    output.publish(figures, [drawn.trie_table(figures)], json, say)
    if plot:
        drawn.draw_trie(figures, plot)
        say(str(plot))


@bench.command(name="scale")
def bench_scale(
    *,
    json: JsonOption = None,
    plot: PlotOption = None,
    sizes: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of passages.")
    ] = "10000,30000,100000,300000,1000000",
    mapped: Annotated[
        int, typer.Option(metavar="N", min=0, help="Passages of one more corpus that is only mapped; 0: none.")
    ] = 3_000_000,
) -> None:
    """Load, cut, index and map corpora mixed from real sentences. Takes about 15 minutes and 4 GB of disk."""
    from harness.bench import output, scale, synthetic
    from harness.bench.lines import Lines
    from reports import bench as drawn
    from selfretrieval.scale import STAGES

    drawn.check(plot)
    numbers, stages = output.sizes_of(sizes), {**scale.STAGES, **STAGES}
    progress = Lines(say, every_s=5)
    figures = scale.summarise(scale.run(synthetic.embedded(), numbers, mapped=mapped, stages=stages, progress=progress))
    output.publish(figures, [drawn.scale_table(figures)], json, say)
    if plot:
        drawn.draw_scale(figures, plot)
        say(str(plot))


@bench.command(name="train")
def bench_train(
    *,
    json: JsonOption = None,
    tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Tokens of examples each way is trained on, each round.")
    ] = 8_000,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds.")] = 2,
) -> None:
    """Compare the training loop with `transformers.Trainer` and padding. Takes about 4 minutes on two cores."""
    from harness.bench import output, train
    from harness.bench.lines import Lines
    from selfretrieval.bench import training

    figures = training(tokens, rounds, Lines(say))
    output.publish(figures, [train.table(figures)], json, say)


@bench.command(name="beams")
def bench_beams(
    folder: RunFolderArgument,
    *,
    sizes: Annotated[str, typer.Option(metavar="N,N", help="Beam sizes.")] = "1,2,5,10,20,50,100",
    systems: SystemsOption = None,
    dataset: DatasetOption = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N queries.")] = None,
) -> None:
    """Search with beams of several sizes in a finished run, and add the curve to its report (Table 9 of the paper)."""
    from harness import beam_curve
    from harness.bench import output
    from harness.bench.lines import Lines

    beam_curve.measure(
        folder,
        sizes=output.sizes_of(sizes),
        systems=names_of(systems),
        dataset=dataset,
        limit=limit,
        progress=Lines(say),
    )
    say(str(build_report(folder)))


@bench.command(name="evidence")
def bench_evidence(
    folder: RunFolderArgument,
    *,
    systems: SystemsOption = None,
    dataset: DatasetOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Dev queries, chosen by hash.")] = 60,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Search with another setting, e.g. judged=60."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Rank what a trained Self-Retrieval found for dev queries by each kind of evidence, and by all of them."""
    from harness.bench import output
    from harness.bench.lines import Lines
    from selfretrieval import evidence_bench

    rows = evidence_bench.measure(
        folder, systems=names_of(systems), dataset=dataset, limit=limit, sets=sets or (), progress=Lines(say)
    )
    output.publish({"rows": rows}, [evidence_bench.table(rows)], json, say)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Run retrieval systems side by side on the same data; see quality, speed and memory in one report."""


def _measure(chosen: Experiment, folder: Path, fresh: bool, arguments: Sequence[str]) -> Summary:
    from rich.console import Console

    from harness import data_progress, display, runner

    with data_progress.watched() as progress:
        # Handed over and not kept: the corpora of the plan would stay in memory until the last cell has ended.
        handed = [runner.prepared(chosen, folder, progress)]
    with display.for_stream(say, Console()) as observer:
        return runner.run(chosen, folder, observer, fresh=fresh, command=("harness", *arguments), plan=handed.pop())


def _conclude(summary: Summary) -> bool:
    """Print how the run went; say whether a cell failed."""
    from harness.display import failure
    from harness.store import RunFolder

    reused = f" ({summary.reused} reused)" if summary.reused else ""
    say(f"{summary.done + summary.reused} done{reused}, {summary.failed} failed")
    if summary.failed:
        run_folder = RunFolder(summary.folder)
        for cell in run_folder.cells():
            status = run_folder.status(cell)
            if status and status["state"] == "failed":
                say(f"failed: {cell.dataset} {cell.system} seed {cell.seed}: {failure(status)}")
                say(f"        log: {run_folder.cell(cell).log}")
    return summary.failed > 0


def _complain(text: str) -> None:
    typer.echo(printable(text), err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments` (default: the program's own) and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of few characters shows "?" for the others instead of ending the program.
            stream.reconfigure(errors="replace")
    try:
        code = _outcome(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGoneError):
        # The interpreter flushes standard output once more on its way out; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return code


def _outcome(arguments: list[str]) -> int:
    try:
        app(args=arguments, prog_name="harness", obj=arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        _complain("\ninterrupted")
        return INTERRUPTED
    except (BrokenPipeError, ReaderGoneError):
        raise
    except Exception as error:
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    """Tell the user what went wrong, in one message without a traceback."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        error = _storage(error)
    if isinstance(error, HarnessError):
        _complain(str(error))
        return REFUSED
    return _apologise(error)


def _storage(error: OSError) -> StorageError:
    fix = "free some space or correct the permissions, or choose another folder with --out"
    return StorageError(f"to read or write {error.filename or 'a file'}", REFUSALS[error.errno], fix)


def _apologise(error: Exception) -> int:
    """Keep the traceback in a file and say where."""
    details = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="harness-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(details)
        where = f"in {file.name}"
    except OSError:
        where = f"here:\n{details}"
    _complain(f"sorry, this is a fault of harness itself ({type(error).__name__}: {error}); the details are {where}")
    return FAULT


if __name__ == "__main__":
    sys.exit(main())
