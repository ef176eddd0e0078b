"""`sway parity`: compare what is served with the adapter as it was trained."""

import argparse

from sway_gate import output
from sway_gate.commands._common import Add, display, text_stream
from sway_gate.commands._formats import choose, json_argument, output_arguments
from sway_gate.errors import CannotDecide

PROMPTS = 24
_FORMATS = ("json",)


def add_to(add: Add) -> None:
    parity = add(
        "parity",
        _parity,
        "Compare a merged model, a GGUF file or a server with the adapter as it was trained.",
        "sway parity runs/adapter --against merged",
        "sway parity runs/adapter --data train.jsonl --against model.gguf",
    )
    parity.exit_codes = (
        "exit codes: 0 the same, 1 an artefact differs, 2 wrong command or file, 3 could not decide"
    )
    parity.add_argument("adapter", metavar="ADAPTER", help="folder or hub id of the adapter")
    parity.add_argument(
        "--base",
        metavar="BASE",
        help="folder or hub id of the base model (default: read from the adapter's config)",
    )
    parity.add_argument(
        "--against",
        action="extend",
        nargs="+",
        required=True,
        metavar="ARTEFACT",
        help="folder of a model, .gguf file, or address of a server with OpenAI's interface, as "
        "http://localhost:8000/v1#MODEL",
    )
    parity.add_argument(
        "--data",
        action="extend",
        nargs="+",
        default=[],
        metavar="FILE",
        help="training data, whose prompts are used (default: general questions)",
    )
    parity.add_argument(
        "--served-base",
        metavar="ARTEFACT",
        help="the base in the form of the artefacts; its error is the yardstick (default: the "
        "error of the stored precision, computed)",
    )
    output_arguments(parity, _FORMATS)
    json_argument(parity)


def _parity(args: argparse.Namespace) -> int:
    from sway_gate.model_files.hub import without_online
    from sway_gate.serving.artefacts import check_name

    choose(args, _FORMATS)
    output.clear_targets({"--json": args.json}, [*args.data])
    for name in [*args.against, *filter(None, [args.served_base])]:
        check_name(name)
    from sway_gate.reports import parity as reports
    from sway_gate.serving.parity import compare_artefacts
    from sway_gate.suites.parity import parity_inputs

    try:
        inputs = parity_inputs(args.adapter, args.base, args.data, PROMPTS)
    except CannotDecide as error:
        raise CannotDecide(without_online(str(error))) from None
    with output.progress_bar() as progress:
        found = compare_artefacts(*inputs, args.against, args.served_base, progress)
    stream = text_stream([args.json])
    output.say(reports.render(found, **display(stream)), stream)
    if args.json:
        output.write(args.json, reports.to_json(found), output.JSON)
    return reports.exit_code(found)
