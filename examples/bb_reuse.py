"""Cut a view, join the parts, put them into another message: no byte is copied.

    python examples/bb_reuse.py

A `BytesReader` is what moves through a view; the view itself stays whole, so it can be inspected,
cut and sent as often as one likes.
"""

from trio_bytesbuf import BytesReader, BytesView, default_memory

MENU = b"".join(b"%d kinds of soup. " % kinds for kinds in range(100))


def inspect(view: BytesView) -> None:
    """Print how long `view` is and how it is cut."""
    reader = BytesReader(view)
    lengths = []
    while reader:
        lengths.append(reader.chunk().nbytes)
        reader.advance(lengths[-1])
    print(f"{len(view)} bytes in pieces of {lengths}")


def main() -> None:
    """Take a greeting apart, tell a story with it, and build a message around a long part."""
    greeting = BytesView.copied_from_slice(b"Hello, world!", default_memory())
    inspect(greeting)

    hello, world = greeting.range(0, 5), greeting.range(7, 12)
    inspect(hello)
    inspect(world)
    assert hello.first_piece.obj is world.first_piece.obj is greeting.first_piece.obj

    joined = BytesView.from_views([hello, world])
    inspect(joined)
    fox = BytesView(b'The quick brown fox says "')
    inspect(fox + joined + b'" and jumps over the lazy dog.')

    # A view that is put into a builder takes none of its room. (A few bytes behind a few bytes are
    # copied after all, as a piece costs more than they do; that is why the menu is long.)
    menu = BytesView(MENU)
    buf = default_memory().reserve(100)
    for heading in (b"Lunch: ", b"Dinner: "):
        buf.put_slice(heading)
        buf.put_view(menu)
    message = buf.consume_all()
    inspect(message)
    assert [piece.obj is MENU for piece in message.pieces] == [False, True, False, True]


if __name__ == "__main__":
    main()
