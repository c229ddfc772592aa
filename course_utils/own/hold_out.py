"""The split by questions that lesson 17's learner writes, as used by the lesson's own code."""

import random


def held_out_rows(keys, share, seed):
    """Positions to hold out, whole questions at a time; about `share` of the rows. keys: one for each row."""
    members = {}
    for position, key in enumerate(keys):
        members.setdefault(key, []).append(position)
    held_out = []
    for key in random.Random(seed).sample(sorted(members), len(members)):
        if len(held_out) + len(members[key]) <= share * len(keys):
            held_out += members[key]
    return sorted(held_out)
