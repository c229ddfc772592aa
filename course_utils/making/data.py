"""Remakes data/ except the model and the stored runs: `make data`. The bytes are reproducible."""

from course_utils.data import DATA
from course_utils.making import examples, preferences
from course_utils.making.checksums import write_sums
from course_utils.making.pocket.datasets import write_data


def main() -> None:
    for path in write_data(DATA):
        print(path)
    write_sums()  # of the files that the next steps read
    examples.write_examples()
    preferences.main([])


if __name__ == "__main__":
    main()
