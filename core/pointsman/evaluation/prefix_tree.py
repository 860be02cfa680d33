"""Which prefixes the requests of a log share, wherever each of them was cut. Knows outlines; no time, no price."""

from __future__ import annotations

from collections.abc import Iterable

from pointsman.outline import Outline

ROOT = 0


class PrefixTree:
    """The cuts of all outlines as one tree: a cut's parent is the next shorter one that any outline has on its path.

    Two outlines of one prompt may be cut differently: what either of them knows of the path holds for both.
    `parents` and `ends` (tokens from the start of the prompt) have an item per cut, `leaves` one per outline: its last
    cut. Cut 0 is the empty prefix. A parent comes before its child by `order`.
    """

    def __init__(self, outlines: Iterable[Outline]) -> None:
        self.parents = [ROOT]
        self.ends = [0]
        self._cuts: dict[bytes, int] = {}
        self.leaves = [self._add(outline) for outline in outlines]

    def order(self, cut: int) -> tuple[int, int]:
        """What cuts are sorted by: their tokens; of two that differ in blocks without tokens, either may be first."""
        return self.ends[cut], cut

    def _add(self, outline: Outline) -> int:
        cuts, parents = self._cuts, self.parents
        last = ROOT
        for (_, _, _, digest, _), end in zip(outline.blocks, outline.sums, strict=True):
            cut = cuts.get(digest)
            if cut is None:
                cut = cuts[digest] = len(parents)
                parents.append(last)
                self.ends.append(max(end, self.ends[last]))
            elif parents[cut] != last:
                last, cut = sorted((last, cut), key=self.order)
                self._join(cut, last)
            last = cut
        return last

    def _join(self, cut: int, ancestor: int) -> None:
        """Makes a shorter cut an ancestor of another: both paths become one."""
        order, parents = self.order, self.parents
        while cut != ancestor:
            above = parents[cut]
            while order(above) > order(ancestor):
                cut, above = above, parents[above]
            if above == ancestor:
                return
            parents[cut] = ancestor
            cut, ancestor = ancestor, above
