"""`harness bench`: time the engine, the training loop and the index against other ways; curves of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.terminal import DatasetOption, RunFolderArgument, SystemsOption, names_of, say

bench = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Time the engine against other ways, on this machine, in one run."
)

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
    from reports.build import build

    beam_curve.measure(
        folder,
        sizes=output.sizes_of(sizes),
        systems=names_of(systems),
        dataset=dataset,
        limit=limit,
        progress=Lines(say),
    )
    say(str(build(folder)))


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
