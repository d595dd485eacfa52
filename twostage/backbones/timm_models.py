"""Any convolutional network of timm, by its name, as a feature map."""

from __future__ import annotations

from torch import Tensor, nn

from twostage.backbones.base import Backbone
from twostage.backbones.pretrained import load_pretrained
from twostage.backbones.timm_package import import_timm
from twostage.errors import BackboneError, suggest
from twostage.options.backbones import BACKBONES

__all__ = ["TimmBackbone"]


class TimmBackbone(Backbone):
    """The last feature map of a timm model: (N,C,H,W) -> (N,F,h,w), h = H/32 for most."""

    def __init__(
        self, in_channels: int, name: str, pretrained: bool = False, weights: str | None = None, freeze: int = 0
    ) -> None:
        """`freeze` stages, counted from the input, keep their weights and batch-norm statistics.

        Args:
            pretrained: `load_trained` takes the weights that timm knows for the name.
            weights: `load_trained` takes those of this safetensors file.

        Raises BackboneError for an unknown name, a model without a feature map, or one with fewer stages.
        """
        super().__init__()
        timm = import_timm()
        if not timm.is_model(name):
            known = [*timm.list_models(), *(own for own in BACKBONES if own != "timm")]
            raise BackboneError(f"backbone={name} is not known, here or in timm: {suggest(name, known)}")
        try:
            self.model = timm.create_model(
                name, pretrained=False, in_chans=in_channels, features_only=True, out_indices=(-1,)
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise BackboneError(
                f"backbone={name} gives no feature map: {reason}; choose a convolutional one"
            ) from error
        self.name, self.features = name, self.model.feature_info.channels()[-1]
        expected = self.model.pretrained_cfg
        self.input_statistics = expected["mean"], expected["std"]
        self.pretrained, self.weights = pretrained, weights
        self.frozen = self._first_stages(freeze)
        for module in self.frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)

    def load_trained(self) -> list[str]:
        """Take the trained weights that the options name, if they do; returns what is to be said about them.

        Raises:
            BackboneError: They cannot be had, or are of another network.
        """
        if not self.pretrained and self.weights is None:
            return []
        return [load_pretrained(self.model, self.name, self.weights)]

    def _first_stages(self, count: int) -> list[nn.Module]:
        """Every module up to the end of the first `count` stages, as timm counts them, in the order of the forward."""
        stages = [stage["module"].replace(".", "_") for stage in self.model.feature_info.info]
        if count > len(stages):
            raise BackboneError(f"backbone.freeze={count}: {self.name} has {len(stages)} stages")
        if count == 0:
            return []
        modules = [(name.replace(".", "_"), module) for name, module in self.model.named_modules() if name]
        end = stages[count - 1]
        inside = [i for i, (name, _) in enumerate(modules) if name == end or name.startswith(end + "_")]
        if not inside:
            raise BackboneError(
                f"backbone.freeze={count}: {self.name} has no stages that can be told apart: leave it 0"
            )
        return [module for _, module in modules[: inside[-1] + 1]]

    def train(self, mode: bool = True) -> TimmBackbone:
        """As usual, but frozen stages stay as they are in prediction."""
        super().train(mode)
        for module in self.frozen:
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Last feature map of images (N,C,H,W)."""
        feature_map: Tensor = self.model(images)[0]
        if feature_map.ndim != 4 or feature_map.shape[1] != self.features:
            raise BackboneError(f"backbone={self.name} gives no feature map (N,F,h,w): choose a convolutional one")
        return feature_map
