"""Makes all of data/ but the model and the stored runs anew: `make data`. The same bytes come out again."""

from course_utils.data import DATA
from course_utils.making import examples, preferences
from course_utils.making.checksums import write_sums
from course_utils.making.pocket.datasets import write_data


def main() -> None:
    for path in write_data(DATA):
        print(path)
    write_sums()  # of what the next ones read
    examples.write_examples()
    preferences.main([])


if __name__ == "__main__":
    main()
