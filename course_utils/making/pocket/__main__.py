"""`python -m course_utils.making.pocket`: rebuilds the data files, the pocket GPT-2 and its model card.

--size small or large makes a relative of it: the same corpus, tokenizer and schedule, a rate of its own.
"""

import json
import random
from dataclasses import replace
from pathlib import Path

from transformers import AutoTokenizer

from course_utils.data import DATA
from course_utils.generation import generate
from course_utils.home import home
from course_utils.making.checksums import write_sums
from course_utils.making.pocket.card import figures, write_card
from course_utils.making.pocket.datasets import write_data
from course_utils.making.pocket.train import (
    BEGINNINGS,
    CONTEXT,
    HELD_OUT_SEED,
    HELD_OUT_WINDOWS,
    MODEL_SIZES,
    TOKENS,
    export,
    held_out_loss,
    pretrain,
    token_stream,
    train_tokenizer,
)
from course_utils.model_files import write_checksums
from course_utils.models import POCKET, SHIPPED_MODELS
from course_utils.terminal import Parser
from course_utils.world.statements import completion
from course_utils.world.tables import all_facts

SUBSET = 300  # facts completed for evaluation during training
MODEL_PLACES = {"small": SHIPPED_MODELS["pocket-s"], "medium": POCKET}  # the large one: home()/models


def main() -> None:
    parser = Parser(prog="python -m course_utils.making.pocket", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=("all", "data"), default="all", help="data: only the data files"
    )
    parser.add_argument("--size", choices=MODEL_SIZES, default="medium", help="default: %(default)s")
    parser.add_argument("--lr", type=float, help="another learning rate than the size's own")
    parser.add_argument("--out", type=Path, help="folder of the finished model")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/pretrain"), help="token stream and checkpoint"
    )
    parser.add_argument("--tokens", type=int, default=TOKENS, help="length of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    size = MODEL_SIZES[args.size]
    if args.size == "medium":
        for path in write_data(DATA):
            print(path)
        write_sums()
    if args.what == "data":
        return
    size = replace(size, lr=args.lr or size.lr)
    tokenizer = train_tokenizer() if args.size == "medium" else AutoTokenizer.from_pretrained(POCKET)
    held_out = token_stream(tokenizer, HELD_OUT_SEED, HELD_OUT_WINDOWS * CONTEXT + 1, args.work)
    facts = random.Random(1).sample(all_facts(), SUBSET)

    def evaluate(model):
        known = {what: round(share, 3) for what, share in completion(model, tokenizer, facts).items()}
        said = generate(model, tokenizer, list(BEGINNINGS), max_new_tokens=20)
        loss = round(held_out_loss(model, held_out), 4)
        return {"completion": known.pop("all"), "held_out_loss": loss, "known": known, "said": said}

    model, curve = pretrain(size, tokenizer, args.work, args.tokens, args.seed, evaluate)
    folder = args.out or MODEL_PLACES.get(args.size) or home() / "models" / size.name
    export(model, tokenizer, folder)
    report = figures(model, tokenizer, size, args.seed, args.tokens, curve)
    (folder / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    write_card(report, folder)
    write_checksums(folder)
    print(folder)


if __name__ == "__main__":
    main()
