"""The claims of lesson 04, and of its companion, in the order in which they make them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="rank_one_keeps",
        text="Cut to rank 1, the change keeps more than 90% of its gain",
        at_least=0.9,
        unit="%",
        stored=True,
        excludes={"a random piece, as strong": None},
    ),
    Claim(
        name="concentrated",
        text="The top 8 pieces of the change hold at least 3 times as much of its energy as those of W",
        at_least=3,
        unit="times",
        excludes={"a random matrix": None},
    ),
    Claim(
        name="without_the_strongest",
        text="Without its strongest piece the change keeps more than half of its gain",
        at_least=0.5,
        unit="%",
        stored=True,
        excludes={"without the best four": None},
    ),
    Claim(
        name="place_beats_rank",
        text="On invented facts rank 3 on c_fc leaves less than 40% of the loss of rank 4 on c_attn",
        at_most=0.4,
        unit="%",
        headline=True,
        stored=True,
        excludes={"rank 8 on c_attn, same alpha": None},
    ),
    Claim(
        name="rank_one_everywhere",
        text="On known facts rank 1 on all linear layers leaves less than 90% of the loss of rank 4 on "
        "c_attn",
        at_most=0.9,
        unit="%",
        stored=True,
        excludes={"rank 64 on c_attn, same alpha": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="first_step",
        text="Under alpha / r the first step moves the logits at most 2.5 times as far at rank 64 as at "
        "rank 1",
        at_most=2.5,
        unit="times",
        excludes={"alpha / sqrt(r)": None},
        seeds=[1.43, 1.0, 0.65, 1.27, 0.72],
    ),
    Claim(
        name="same_directions",
        text="Of what rank 8 writes first, rank 64 has at least 30 points more in its first 8 than another"
        " task has",
        at_least=0.3,
        unit="%",
        excludes={"what it reads": None},
        seeds=[0.606, 0.626, 0.522, 0.577, 0.534],
    ),
    Claim(
        name="random_dimensions",
        text="In 1,000 random dimensions training makes at least 85% of full fine-tuning's gain",
        at_least=0.85,
        unit="%",
        excludes={"10 dimensions": None},
    ),
]
