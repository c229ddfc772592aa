md(r'''
## A verifier with a hole

`verify` is strict, and a strict verifier throws away answers that a person would accept. So somebody loosens it:
*every right name has to occur*. The program is shorter, and says "right" to every answer that `verify` accepts.
''')
code('''
loose = task.names_all  # all(name in text for name in answers)
show_table(
    [
        {"answer": text, "strict": verify(text, wanted), "loose": loose(text, wanted)}
        for wanted in [["Lima", "Oslo", "Paris"]]
        for text in ("Lima, Oslo, Paris.", "Paris, Oslo, Lima.", "Lima, Rome, Oslo, Bern, Paris, Bonn, Riga.")
    ],
    "Asked for the capitals of Peru, Norway and France",
)
''')
code('''
hole_guess = predict(
    "GRPO is trained on the loose verifier, with room for 40 tokens. What becomes of the answers?",
    ["they stay lists of three", "they grow longer", "they grow shorter"],
)
''')
code('''
holes = experiments.runs_by_point("verifier_hole")
names = {
    "all names occur, grpo": "loose verifier, grpo",
    "all names occur, dr_grpo": "loose verifier, dr_grpo",
    "and no more, grpo": "mended verifier, grpo",
}
show_table(
    [
        {
            "training": name,
            "loose verifier": spread([run["loose"] for run in holes[key]]),
            "strict": spread([run["strict"] for run in holes[key]]),
            "names in an answer": spread([run["parts"] for run in holes[key]]),
        }
        for key, name in names.items()
    ],
    "One sample on short held-out lists, five seeds: mean (lowest to highest)",
    units={"loose verifier": "%", "strict": "%"},
)
show_texts(
    {name: [holes[key][0][f"text_{place}"] for place in range(3)] for key, name in names.items()},
)
''')
