"""Which nodes of a traced graph become one: all, or all that no product disappears in."""

from __future__ import annotations

import onnx_ir
from onnx_ir.passes.common import ShapeInferencePass
from onnxscript.optimizer import optimize
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from onnxscript.rewriter.ort_fusions.bias_gelu import fuse_bias_gelu
from onnxscript.rewriter.ort_fusions.mha import fuse_mha1, fuse_mha2
from onnxscript.rewriter.ort_fusions.mha_bias import fuse_mha_bias
from onnxscript.rewriter.ort_fusions.mha_scale import fuse_mha_scale
from onnxscript.rewriter.ort_fusions.sdpa import fuse_sdpa
from onnxscript.rewriter.ort_fusions.sdpa_via_mha import replace_sdpa_by_mha
from onnxscript.rewriter.ort_fusions.shape_optimization import rules as shape_rules
from onnxscript.rewriter.ort_fusions.skip_normalization import fuse_skip_layer_normalization


def fuse(model: onnx_ir.Model) -> onnx_ir.Model:
    """Fuse all that can be fused: what computes fastest in fp32. Changes the model."""
    fused, _ = optimize_for_ort(model)
    return fused


def fuse_between_products(model: onnx_ir.Model) -> onnx_ir.Model:
    """Fuse attention and normalisation, and leave each product with a matrix a node of its own.

    What is quantised are those products. Where attention is left in single steps, these cost what
    the products win as texts grow longer: on texts of 5 to 400 tokens all-MiniLM-L6-v2 in 8 bits
    was 1.1 times as fast as in fp32, and is 1.4 times as fast this way, with the same vectors.
    Changes the model.
    """
    ShapeInferencePass()(model)
    optimize(model)
    shape_rules.apply_to_model(model)
    optimize(model)
    fuse_skip_layer_normalization(model)
    fuse_sdpa(model, apply_shape_inference=True)
    for step in (fuse_mha1, fuse_mha2, fuse_mha_scale, fuse_mha_bias, fuse_bias_gelu):
        step(model)
    replace_sdpa_by_mha(model)
    # Puts the steps back of what was half fused.
    optimize(model)
    return model
