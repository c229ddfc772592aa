"""`python -m course_utils.making.pocket`: rebuilds the data files, the pocket GPT-2 and its model card."""

import json
import random
from pathlib import Path

from course_utils.data import DATA
from course_utils.making.checksums import write_sums
from course_utils.making.pocket.card import figures, write_card
from course_utils.making.pocket.datasets import write_data
from course_utils.making.pocket.train import TOKENS, export, pretrain
from course_utils.model_files import write_checksums
from course_utils.terminal import Parser
from course_utils.world.statements import completion
from course_utils.world.tables import all_facts

SUBSET = 300  # facts completed for evaluation during training


def main() -> None:
    parser = Parser(prog="python -m course_utils.making.pocket", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=("all", "data"), default="all", help="data: only the data files"
    )
    parser.add_argument("--out", type=Path, default=DATA / "pocket-gpt2", help="folder of the finished model")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/pretrain"), help="token stream and checkpoint"
    )
    parser.add_argument("--tokens", type=int, default=TOKENS, help="length of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    for path in write_data(DATA):
        print(path)
    write_sums()
    if args.what == "data":
        return
    facts = random.Random(1).sample(all_facts(), SUBSET)

    def evaluate(model, tokenizer):
        return {"completion": round(completion(model, tokenizer, facts)["all"], 3)}

    model, tokenizer, curve = pretrain(args.work, args.tokens, args.seed, evaluate)
    export(model, tokenizer, args.out)
    report = figures(model, tokenizer, args.seed, args.tokens, curve)
    (args.out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    write_card(report, args.out)
    write_checksums(args.out)


if __name__ == "__main__":
    main()
