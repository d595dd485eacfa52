"""Read photographs with an exported file: with onnxruntime, numpy and Pillow, without twostage and torch.

`python docs/examples/08_onnx.py model.onnx a.jpg b.jpg`; [Export](../guide/export.md) says how exact that is.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def shares(length, size):
    """How much of each pixel lies in each of `size` parts of a length, as a share of the part."""
    edges, pixel = np.linspace(0, length, size + 1), np.arange(length)
    inside = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return inside.clip(0) * size / length


session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["twostage"])
for name in sys.argv[2:]:
    pixels = np.asarray(ImageOps.exif_transpose(Image.open(name)).convert("RGB"))
    down, across = (shares(length, card["size"]) for length in pixels.shape[:2])  # fit=stretch
    square = np.rint(np.einsum("yh,hwc,xw->yxc", down, pixels, across, optimize=True)).astype(np.uint8)
    outputs = ["concentration", "lower", "upper", "status", "reason"]
    found = session.run(outputs, {"photographs": square[None]})
    concentration, lower, upper, status, reason = (values[0] for values in found)
    print(f"{name}: {concentration:.4g} {card['unit']} ({lower:.4g} to {upper:.4g}), {card['statuses'][status]}")
    print(f"  {card['reasons'][reason] or 'nothing speaks against it'}")
