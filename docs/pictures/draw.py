#!/usr/bin/env python3
"""Draws the pictures of the README and of the guide; `--check` fails if they are not up to date.

Each picture is a file beside this script, which the pages link to. The documentation can't show
files of the repository, so `src/guide/pictures.md` has them as well, as definitions of the same
links; there they come first, and the first definition of a link is the one that counts.
"""

import base64
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
GUIDE = HERE.parent.parent / "src/guide/pictures.md"

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #3d4650 }
.code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: 12px }
.middle { text-anchor: middle }
.end { text-anchor: end }
.strong { font-weight: 600; fill: #1b232b }
.in { fill: #ffffff; font-weight: 500 }
.paper { fill: #ffffff }
.waits { fill: #dfe5ec; stroke: #b9c3ce }
.runs { fill: #2f74c0 }
.fails { fill: #c9352b }
.told { fill: #b06f14 }
.room { fill: none; stroke: #98a2ad; stroke-dasharray: 4 3 }
.line { fill: none; stroke: #66707a; stroke-width: 1.5 }
.tip { fill: #66707a }
.stop { fill: none; stroke: #c9352b; stroke-width: 1.5; stroke-dasharray: 5 4 }
.over { fill: none; stroke: #a8660a; stroke-width: 1.5; stroke-dasharray: 5 4 }
.cross { fill: none; stroke: #c9352b; stroke-width: 2; stroke-linecap: round }
.red { fill: #c9352b; font-weight: 600 }
.brown { fill: #a8660a; font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #b4bdc7 }
.strong { fill: #eef2f6 }
.in { fill: #ffffff }
.paper { fill: #0d1117 }
.waits { fill: #2b343f; stroke: #4a5664 }
.room { stroke: #59636e }
.line { stroke: #8f99a4 }
.tip { fill: #8f99a4 }
.stop, .cross { stroke: #ef6a60 }
.over { stroke: #dda24a }
.red { fill: #ef6a60 }
.brown { fill: #dda24a }
}
"""


class Picture:
    """The elements of a picture."""

    def __init__(self, width, height, label):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{label}">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
        ]

    def box(self, kind, x, y, width, height=20):
        self.parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
        )

    def text(self, x, y, text, kind=""):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        kind = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text{kind} x="{x}" y="{y}">{text}</text>')

    def line(self, kind, *points):
        path = "M" + "L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path class="{kind}" d="{path}"/>')

    def arrow(self, *points):
        """Draws a line whose last piece, to the right or down, ends in a tip."""
        self.line("line", *points)
        (x0, _), (x, y) = points[-2:]
        tip = [(x - 7, y - 4), (x - 7, y + 4)] if x > x0 else [(x - 4, y - 7), (x + 4, y - 7)]
        self.line("tip", (x, y), *tip, (x, y))

    def cross(self, x, y):
        self.line("cross", (x - 4, y - 4), (x + 4, y + 4))
        self.line("cross", (x - 4, y + 4), (x + 4, y - 4))

    def svg(self):
        return "\n".join([*self.parts, "</svg>", ""])


def group():
    """A loop of `go` under a limit, and the first error."""
    picture = Picture(
        720,
        262,
        "Seven children under a limit of three. go waits until one ends. The fifth fails: "
        "the fourth and the sixth are told, clean up and end, and the seventh is given back.",
    )
    left, step, top = 74, 72, 40
    # When its `go` is called, when it begins, when it ends, and how.
    children = [
        (0, 0, 3, "runs"),
        (0, 0, 5, "runs"),
        (0, 0, 2, "runs"),
        (0, 2, 7.4, "told"),
        (2, 3, 6, "fails"),
        (3, 5, 6.7, "told"),
        (5, 6, 6, "waits"),
    ]
    stop, over = 6, 7.4
    for row, (called, begins, ends, how) in enumerate(children):
        y = top + 26 * row
        x = [left + step * time for time in (called, begins, min(ends, stop), ends)]
        picture.text(left - 14, y + 15, f"child {row + 1}", "end")
        if begins > called:
            picture.box("waits", x[0], y, x[1] - x[0] - 1)
            picture.text(x[0] + 6, y + 14, "go waits")
        if begins < ends:
            picture.box("fails" if how == "fails" else "runs", x[1], y, x[2] - x[1] - 1)
            picture.text(x[1] + 6, y + 14, "runs, and fails" if how == "fails" else "runs", "in")
        if how == "told":
            picture.box("told", x[2], y, x[3] - x[2] - 1)
            if ends == over:
                picture.text(x[2] + 6, y + 14, "cleans up", "in")
        if how == "waits":
            picture.cross(x[1] + 12, y + 10)
            picture.text(x[1] + 24, y + 15, "go gives it back")
    x = left + step * stop
    picture.line("stop", (x, 28), (x, 226))
    picture.text(x, 20, "the first error: all are told", "middle red")
    x = left + step * over
    picture.line("over", (x, 28), (x, top + 26 * 5 + 22))
    picture.text(x + 8, 52, "the group", "brown")
    picture.text(x + 8, 68, "returns it", "brown")
    picture.text(left - 14, 20, "limit 3", "end strong")
    picture.text(left, 20, "at most three run at a time")
    picture.text(left - 14, 249, "time", "end")
    picture.arrow((left, 245), (left + step * over + 60, 245))
    return picture


def stop():
    """What a stop does to each child, with a grace."""
    picture = Picture(
        720,
        212,
        "What a stop does. A running child that listens is told, cleans up and ends; one that does "
        "not listen runs until the grace is over and is dropped; one with until_stop is dropped at "
        "once; one in the queue is dropped unpolled; one in a go is given back.",
    )
    left, at, over, top = 178, 330, 560, 40
    rows = ["runs, and listens", "runs, doesn't listen", "runs, until_stop", "is in the queue"]
    rows.append("waits in a go")
    for row, name in enumerate(rows):
        y = top + 28 * row
        picture.text(left - 12, y + 15, name, "end")
        kind = "waits" if row > 2 else "runs"
        picture.box(kind, left, y, at - left - 1)
        picture.text(left + 6, y + 14, "waits" if row > 2 else "runs", "" if row > 2 else "in")
        if row == 0:
            picture.box("told", at, y, 130)
            picture.text(at + 6, y + 14, "cleans up, ends", "in")
        elif row == 1:
            picture.box("runs", at, y, over - at - 1)
            picture.text(at + 6, y + 14, "runs on", "in")
            picture.cross(over + 12, y + 10)
            picture.text(over + 24, y + 15, "is dropped")
        else:
            picture.cross(at + 12, y + 10)
            text = ["is dropped", "is dropped, never polled", "is given back, never polled"]
            picture.text(at + 24, y + 15, text[row - 2])
    picture.line("stop", (at, 28), (at, 182))
    picture.text(at, 20, "the stop", "middle red")
    picture.line("over", (over, 28), (over, 182))
    picture.text(over, 20, "the grace is over", "middle brown")
    picture.text(left - 12, 202, "time", "end")
    picture.arrow((left, 198), (over + 100, 198))
    return picture


def keys():
    """A queue with keys, one of which is full."""
    picture = Picture(
        720,
        178,
        "Limit 5 and key limit 2. Two children of key a run. In the queue are a3, a4, b1, a5 and c1; "
        "b1 and c1 start at once, the others wait for room in key a.",
    )
    left, width = 130, 92
    picture.text(left - 14, 55, "running", "end")
    picture.text(left, 22, "with_limit(5), with_key_limit(2)", "code")
    for place, name in enumerate(["a1", "a2", "", "", ""]):
        x = left + width * place
        picture.box("runs" if name else "room", x, 38, width - 8, 26)
        picture.text(x + (width - 8) / 2, 56, name or "room", "middle in" if name else "middle")
    picture.text(left - 14, 133, "the queue", "end")
    for place, name in enumerate(["a3", "a4", "b1", "a5", "c1"]):
        x = left + width * place
        free = name[0] != "a"
        picture.box("runs" if free else "waits", x, 116, width - 8, 26)
        picture.text(x + (width - 8) / 2, 134, name, "middle in" if free else "middle")
    for place, to in [(2, 2), (4, 3)]:
        x, x1 = (left + width * at + (width - 8) / 2 for at in (place, to))
        picture.line("line", (x, 116), (x, 90), (x1, 90), (x1, 66))
        picture.line("tip", (x1, 64), (x1 - 4, 72), (x1 + 4, 72), (x1, 64))
    picture.text(left, 165, "a3, a4 and a5 wait for room in key a, and delay no other key.")
    return picture


def start():
    """The way of a child from its `go` to its first poll."""
    picture = Picture(
        720,
        150,
        "go, feed and queue put a child into one queue, in order of arrival or priority. When it is "
        "the next, and there is room in the group and in its key, and the gates let it pass, it runs.",
    )
    y, height = 44, 44
    for row, name in enumerate(["go", "feed", "queue"]):
        at = 38 + 28 * row
        picture.text(14, at + 5, name, "code strong")
        picture.arrow((62, at), (82, at), (82, 66), (100, 66))
    boxes = [
        ("the queue", "", ["by priority,", "then by arrival"]),
        ("room in", "the group?", ["with_limit", "weight"]),
        ("room in", "its key?", ["with_key_limit", "key, unique"]),
        ("gates", "let it pass?", ["with_gate", "with_semaphore"]),
    ]
    for place, (first, second, below) in enumerate(boxes):
        x = 100 + 130 * place
        picture.box("waits", x, y, 106, height)
        picture.text(x + 53, y + (19 if second else 27), first, "middle strong")
        picture.text(x + 53, y + 36, second, "middle strong")
        for line, text in enumerate(below):
            kind = "middle code" if place else "middle"
            picture.text(x + 53, y + height + 22 + 18 * line, text, kind)
        picture.arrow((x + 106, 66), (x + 130, 66))
    picture.box("runs", 620, y, 86, height)
    picture.text(663, y + 27, "it runs", "middle in")
    return picture


def main():
    files, links = {}, []
    for draw in (group, stop, keys, start):
        svg = draw().svg()
        files[HERE / f"{draw.__name__}.svg"] = svg
        data = base64.b64encode(svg.encode()).decode()
        links.append(f"[picture-{draw.__name__}]: data:image/svg+xml;base64,{data}")
    files[GUIDE] = "\n".join([*links, "", ""])
    for path, text in files.items():
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is not what docs/pictures/draw.py draws")


main()
