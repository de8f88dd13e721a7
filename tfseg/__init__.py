"""tfseg: high-throughput semantic segmentation on tf.data and TFRecord, from raw images to an exported model.

    import tfseg

    records = tfseg.convert_dataset("data/cityscapes", "records", size=(512, 1024))
    run = tfseg.train_run(tfseg.Config.from_yaml("configs/cityscapes.yaml"))
    segment = tfseg.load_model("runs/cityscapes/saved_model")
    mask = segment("street.jpg")

What `__all__` lists is the public interface; everything else is private, and may change. A name is imported when it is
first used: `import tfseg` itself loads neither TensorFlow nor Keras.
"""

import importlib
import os
import platform
from typing import TYPE_CHECKING

__version__ = "0.2.0"

# oneDNN's operations, which TensorFlow leaves off on x86 processors without AVX-512: with them, a train step takes a
# quarter less time there. TensorFlow looks at this when it is imported.
if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Name -> the module that it comes from, in the order of the data's way.
_HOMES = {
    "make_sample_city": "synthetic.sample_city",
    "convert_dataset": "api.records",
    "open_records": "api.records",
    "RecordSet": "api.records",
    "Example": "api.records",
    "explore_dataset": "exploration.explorer",
    "Exploration": "exploration.explorer",
    "audit_records": "auditing.auditor",
    "Audit": "auditing.auditor",
    "Finding": "auditing.findings",
    "RandomCrop": "pipeline.crops",
    "Augmentation": "augmentation.layer",
    "create_model": "training.architectures",
    "Unet": "training.architectures",
    "FPN": "training.architectures",
    "Linknet": "training.architectures",
    "PSPNet": "training.architectures",
    "DeepLabV3Plus": "training.architectures",
    "Segmenter": "training.segmenter",
    "DiceLoss": "losses.keras_losses",
    "JaccardLoss": "losses.keras_losses",
    "TverskyLoss": "losses.keras_losses",
    "LovaszLoss": "losses.keras_losses",
    "CrossEntropyLoss": "losses.keras_losses",
    "FocalLoss": "losses.keras_losses",
    "SegmentationLoss": "losses.segmentation_loss",
    "Adam": "training.optimizers",
    "AdamW": "training.optimizers",
    "Cosine": "training.schedules",
    "Polynomial": "training.schedules",
    "MeanIoU": "metrics.mean_iou",
    "score": "metrics.scores",
    "Scores": "metrics.scores",
    "Config": "config.schema",
    "train_run": "api.runs",
    "open_run": "api.runs",
    "Run": "api.runs",
    "evaluate_run": "evaluation.evaluator",
    "evaluate_model": "evaluation.evaluator",
    "evaluate_masks": "evaluation.evaluator",
    "Evaluation": "evaluation.score_files",
    "compare_runs": "evaluation.comparison",
    "Comparison": "evaluation.comparison",
    "RunReport": "evaluation.run_report",
    "export_run": "exporters.exporter",
    "Export": "exporters.exporter",
    "export_model": "api.runs",
    "InferenceSettings": "inference.tta",
    "load_model": "inference.loaded_model",
    "LoadedModel": "inference.loaded_model",
    "predict_files": "inference.files",
    "PredictedFiles": "inference.files",
    "predict_video": "inference.film",
    "PredictedVideo": "inference.film",
}
_MODULES = ("losses", "metrics")

__all__ = [*_HOMES, *_MODULES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from tfseg import losses as losses
    from tfseg import metrics as metrics
    from tfseg.api.records import Example as Example
    from tfseg.api.records import RecordSet as RecordSet
    from tfseg.api.records import convert_dataset as convert_dataset
    from tfseg.api.records import open_records as open_records
    from tfseg.api.runs import Run as Run
    from tfseg.api.runs import export_model as export_model
    from tfseg.api.runs import open_run as open_run
    from tfseg.api.runs import train_run as train_run
    from tfseg.auditing.auditor import Audit as Audit
    from tfseg.auditing.auditor import audit_records as audit_records
    from tfseg.auditing.findings import Finding as Finding
    from tfseg.augmentation.layer import Augmentation as Augmentation
    from tfseg.config.schema import Config as Config
    from tfseg.evaluation.comparison import Comparison as Comparison
    from tfseg.evaluation.comparison import compare_runs as compare_runs
    from tfseg.evaluation.evaluator import evaluate_masks as evaluate_masks
    from tfseg.evaluation.evaluator import evaluate_model as evaluate_model
    from tfseg.evaluation.evaluator import evaluate_run as evaluate_run
    from tfseg.evaluation.run_report import RunReport as RunReport
    from tfseg.evaluation.score_files import Evaluation as Evaluation
    from tfseg.exploration.explorer import Exploration as Exploration
    from tfseg.exploration.explorer import explore_dataset as explore_dataset
    from tfseg.exporters.exporter import Export as Export
    from tfseg.exporters.exporter import export_run as export_run
    from tfseg.inference.files import PredictedFiles as PredictedFiles
    from tfseg.inference.files import predict_files as predict_files
    from tfseg.inference.film import PredictedVideo as PredictedVideo
    from tfseg.inference.film import predict_video as predict_video
    from tfseg.inference.loaded_model import LoadedModel as LoadedModel
    from tfseg.inference.loaded_model import load_model as load_model
    from tfseg.inference.tta import InferenceSettings as InferenceSettings
    from tfseg.losses.keras_losses import CrossEntropyLoss as CrossEntropyLoss
    from tfseg.losses.keras_losses import DiceLoss as DiceLoss
    from tfseg.losses.keras_losses import FocalLoss as FocalLoss
    from tfseg.losses.keras_losses import JaccardLoss as JaccardLoss
    from tfseg.losses.keras_losses import LovaszLoss as LovaszLoss
    from tfseg.losses.keras_losses import TverskyLoss as TverskyLoss
    from tfseg.losses.segmentation_loss import SegmentationLoss as SegmentationLoss
    from tfseg.metrics.mean_iou import MeanIoU as MeanIoU
    from tfseg.metrics.scores import Scores as Scores
    from tfseg.metrics.scores import score as score
    from tfseg.pipeline.crops import RandomCrop as RandomCrop
    from tfseg.synthetic.sample_city import make_sample_city as make_sample_city
    from tfseg.training.architectures import FPN as FPN
    from tfseg.training.architectures import DeepLabV3Plus as DeepLabV3Plus
    from tfseg.training.architectures import Linknet as Linknet
    from tfseg.training.architectures import PSPNet as PSPNet
    from tfseg.training.architectures import Unet as Unet
    from tfseg.training.architectures import create_model as create_model
    from tfseg.training.optimizers import Adam as Adam
    from tfseg.training.optimizers import AdamW as AdamW
    from tfseg.training.schedules import Cosine as Cosine
    from tfseg.training.schedules import Polynomial as Polynomial
    from tfseg.training.segmenter import Segmenter as Segmenter
else:  # type checkers would take it for any name

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            value = getattr(importlib.import_module(f"tfseg.{_HOMES[name]}"), name)
        elif name in _MODULES:
            value = importlib.import_module(f"tfseg.{name}")
        else:
            raise AttributeError(f"module 'tfseg' has no attribute {name!r}")
        globals()[name] = value
        return value
