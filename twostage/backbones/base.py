"""What every backbone is, and what others may ask of one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """Images (N,C,H,W) -> feature map (N,F,h,w); built as ``Class(in_channels, **options)``."""

    symmetry: str = "none"
    """What leaves the features, averaged over positions, unchanged: "p4", "p4m", "SO(2)", "O(2)" or "none"."""
    size_multiple: int = 1
    """Only images whose sides are multiples of so many pixels keep the symmetry."""
    input_statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation of each channel of sRGB that trained weights expect."""

    frozen: Sequence[nn.Module] = ()
    """Parts that keep the weights they start from."""

    @property
    def views_alike(self) -> int:
        """So many of `dihedral_views` in a row, counted from the first, are one to it: 1, 4 or 8."""
        return {"p4": 4, "SO(2)": 4, "p4m": 8, "O(2)": 8}.get(self.symmetry, 1)

    def load_trained(self) -> list[str]:
        """Take the trained weights that the options name, if they do; returns what is to be said about them."""
        return []
