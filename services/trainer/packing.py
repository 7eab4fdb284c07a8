"""What a run leaves: its files under the attempt's keys, and the manifest that names them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from google.protobuf import json_format

from isogloss.storage.v1.model_manifest_pb2 import (
    BaseInfo,
    EncoderFile,
    Lineage,
    ModelManifest,
    TextInput,
    Variant,
)
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.precision_pb2 import Precision
from services.common import layout, manifests
from services.common.cleaning_proto import cleaning_to_proto
from services.common.storage import ObjectStore
from services.trainer import convert, kept_rows, model_card, starts
from services.trainer.evaluation.stored import Left
from services.trainer.exporting.variants import Export, ExportedVariant
from services.trainer.hyperparameters_proto import hyperparameters_to_proto
from services.trainer.material import Material
from services.trainer.prefixes_proto import typed_prefixes_to_proto
from services.trainer.spec import RunSpec
from services.trainer.training import TrainedModel

_LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "safetensors",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def upload(
    store: ObjectStore,
    spec: RunSpec,
    *,
    material: Material,
    model: TrainedModel,
    export: Export,
    judged: Left,
) -> ModelManifest:
    """Upload everything and return the manifest, which is not published.

    Args:
        store: Where to.
        spec: The attempt.
        material: What it worked on.
        model: What it learnt.
        export: The graphs.
        judged: What was stored of its evaluation.
    """
    directory = Path(spec.scratch) / "encoder"
    names = model.save_encoder(directory)
    encoder = [
        EncoderFile(
            path=name,
            file=manifests.upload(store, f"{spec.prefix}encoder/{name}", directory / name),
        )
        for name in names
    ]
    manifest = ModelManifest(
        format_version=manifests.FORMAT_VERSION,
        name=f"models/{spec.model}",
        display_name=spec.display_name,
        attempt=spec.attempt,
        token=spec.token,
        input=TextInput(
            tokenizer=next(item.file for item in encoder if item.path == "tokenizer.json"),
            max_tokens=model.base.max_tokens,
            pad_token_id=model.base.pad_token_id,
            prefix=model.base.prefix,
            typed_prefixes=typed_prefixes_to_proto(model.base.typed_prefixes),
            # The dataset's, whatever the base was trained with: these texts were learnt last.
            cleaning=cleaning_to_proto(material.dataset.cleaning),
        ),
        dimension=model.base.dimensions,
        matryoshka_dimensions=model.plan.matryoshka_dimensions,
        vector_range=export.vector_range,
        variants=[_variant(store, spec, variant) for variant in export.variants],
        label_mode=(
            LabelMode.LABEL_MODE_MULTI if model.multi_label else LabelMode.LABEL_MODE_SINGLE
        ),
        labels=material.dataset.labels,
        thresholds=model.thresholds.tolist(),
        encoder=encoder,
        evaluation=judged.evaluation,
        predictions=judged.predictions,
        projection=judged.projection,
        examples=judged.examples,
        neighbours=kept_rows.upload(
            store,
            vectors=spec.prefix,
            texts=layout.attempt_examples_prefix(spec.tenant, spec.model, spec.attempt, spec.token),
            train=material.train,
            found=model.neighbourhood,
        ),
        lineage=_lineage(spec, material, model),
        base=BaseInfo(
            parameter_count=model.base.parameters, license=material.base_manifest.base.license
        ),
        create_time=convert.timestamp(datetime.now(UTC)),
    )
    card = Path(spec.scratch) / "MODEL_CARD.md"
    card.write_text(model_card.write(manifest, _evaluation(store, judged)), encoding="utf-8")
    manifest.model_card.CopyFrom(manifests.upload(store, f"{spec.prefix}{card.name}", card))
    return manifest


def _evaluation(store: ObjectStore, judged: Left) -> Evaluation:
    content = b"".join(manifests.verified(store, judged.evaluation))
    return json_format.Parse(content, Evaluation())


def _variant(store: ObjectStore, spec: RunSpec, exported: ExportedVariant) -> Variant:
    graph, half = (
        None if path is None else manifests.upload(store, f"{spec.prefix}{path.name}", path)
        for path in (exported.path, exported.half)
    )
    return Variant(
        precision=Precision.Value(exported.form),
        graph=graph,
        half_graph=half,
        min_cosine=exported.min_cosine,
        max_probability_error=exported.max_probability_difference,
        accuracy_loss=exported.accuracy_loss,
        speedup=exported.speedup,
    )


def _lineage(spec: RunSpec, material: Material, model: TrainedModel) -> Lineage:
    return Lineage(
        base_model=starts.full_name(spec.base_model),
        base_digest=next(
            variant.graph.sha256
            for variant in material.base_manifest.variants
            if variant.precision == Precision.PRECISION_EXACT
        ),
        dataset=material.dataset.name,
        dataset_content_hash=material.dataset.content_hash,
        hyperparameters=hyperparameters_to_proto(model.plan.hyperparameters()),
        positive_label=spec.positive_label,
        versions=_versions(),
        start_time=convert.timestamp(spec.start_time),
    )


def _versions() -> Mapping[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            # Of the two packages of ONNX Runtime one is installed.
            continue
    return found
