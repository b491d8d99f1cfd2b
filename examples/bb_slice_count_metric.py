"""Ask a running program in how many pieces its views lie.

    python examples/bb_slice_count_metric.py

The cost of some calls grows with the number of pieces, so a program whose views have many wants
larger blocks, or a `compact()` at the right place. The Rust metric counts views as they are made;
`piece_counts` looks at those that are alive, and costs nothing until it is called.
"""

from trio_bytesbuf import BytesView
from trio_bytesbuf.mem import TrackingPool, piece_counts


def main() -> None:
    """Keep views of 1, 4 and 16 pieces, and count; then drop two, and count again."""
    pool = TrackingPool()
    one = BytesView.copied_from_slice(b"Hello, world!", pool)
    four = BytesView.from_views([one] * 4)
    sixteen = BytesView.from_views([four] * 4)
    print("pieces:", *piece_counts(pool))

    del four, sixteen
    print("pieces:", *piece_counts(pool))


if __name__ == "__main__":
    main()
