"""Let a convolution do the padding in front of it."""

from __future__ import annotations

import onnx_ir as ir

from hardtack_converters import query


def fuse_pad(model: ir.Model) -> int:
    """Fold a Pad of zeros over the image into the Conv behind it.

    Conv(Pad(x, p, 0), pads=q)  =  Conv(x, pads=p + q)

    Only where the Conv alone reads the padded image, and nothing pads batch or channels.
    """
    fused = 0
    for node in tuple(model.graph):
        if node.op_type != "Conv" or node.inputs[0] is None:
            continue
        pad = node.inputs[0].producer()
        if pad is None or pad.op_type != "Pad" or query.only_reader(pad.outputs[0]) is not node:
            continue
        auto = query.string_attribute(node, "auto_pad", "NOTSET")
        amounts = _image_pads(pad)
        if amounts is None or auto not in ("NOTSET", "VALID") or pad.inputs[0] is None:
            continue
        own = query.ints_attribute(node, "pads", (0,) * len(amounts))
        total = [a + b for a, b in zip(amounts, own, strict=True)]
        node.attributes["pads"] = ir.AttrInt64s("pads", total)
        node.attributes.pop("auto_pad", None)
        node.replace_input_with(0, pad.inputs[0])
        model.graph.remove(pad, safe=True)
        fused += 1
    return fused


def _image_pads(pad: ir.Node) -> tuple[int, ...] | None:
    """Return pads of the image axes, before then after, if zeros pad nothing else."""
    known = query.constant(query.input_at(pad, 1))
    fill = query.constant(query.input_at(pad, 2))
    if known is None or query.string_attribute(pad, "mode", "constant") != "constant":
        return None
    if query.input_at(pad, 3) is not None or (fill is not None and float(fill.ravel()[0]) != 0):
        return None
    pads = [int(v) for v in known.ravel()]
    rank = len(pads) // 2
    outside = (*pads[:2], *pads[rank : rank + 2])
    if any(outside) or min(pads) < 0:
        return None
    return (*pads[2:rank], *pads[rank + 2 :])
