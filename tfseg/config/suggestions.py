"""What a user may have meant by a setting that there is not, and what a setting takes, in words."""

import dataclasses
import difflib
from types import NoneType
from typing import Literal, get_args, get_origin

from tfseg.config.settings import SECTIONS, SETTINGS
from tfseg.io.escaping import shorten
from tfseg.io.renamed import SECTIONS as OLD_SECTIONS

# What users of Keras, PyTorch, mmsegmentation and others type -> the setting, or why there is none.
OTHER_NAMES = {
    **dict.fromkeys(("lr", "base_lr", "lr0", "max_lr"), "optimizer.learning_rate"),
    **dict.fromkeys(("bs", "batch", "batchsize", "samples_per_gpu", "train_batch_size"), "train.batch_size"),
    **dict.fromkeys(("epoch", "max_epochs", "num_epochs", "n_epochs", "total_epochs"), "train.epochs"),
    **dict.fromkeys(("wd", "decay"), "optimizer.weight_decay"),
    **dict.fromkeys(("random_seed", "random_state", "manual_seed"), "train.seed"),
    **dict.fromkeys(("early_stopping", "early_stop"), "train.patience"),
    **dict.fromkeys(("freeze", "frozen", "freeze_epochs", "frozen_stages"), "train.frozen_epochs"),
    **dict.fromkeys(
        ("val_freq", "val_interval", "eval_interval", "check_val_every_n_epoch", "val_every"), "train.validation_freq"
    ),
    **dict.fromkeys(("qat", "quantization", "quantized", "int8"), "train.quantize"),
    **dict.fromkeys(("save_interval", "checkpoint_interval", "save_freq"), "train.save_minutes"),
    **dict.fromkeys(
        ("out", "output", "out_dir", "outdir", "output_dir", "work_dir", "workdir", "log_dir", "logdir", "save_dir"),
        "run_dir",
    ),
    **dict.fromkeys(("run", "rundir", "model_dir", "checkpoint_dir", "exp_dir", "run_name"), "run_dir"),
    **dict.fromkeys(("force", "clean"), "overwrite"),
    **dict.fromkeys(("silent", "verbose"), "quiet"),
    **dict.fromkeys(
        ("data_dir", "datadir", "data_root", "data_path", "dataset", "root", "dataset_dir", "tfrecords"), "data.records"
    ),
    **dict.fromkeys(
        ("image_size", "img_size", "imgsz", "input_size", "crop_size", "input_shape", "resolution"), "data.size"
    ),
    **dict.fromkeys(("buffer_size", "shuffle_size"), "data.shuffle_buffer"),
    **dict.fromkeys(("backbone", "arch", "architecture", "encoder_name"), "model.encoder"),
    **dict.fromkeys(("pretrained", "encoder_weights", "init", "load_from"), "model.weights"),
    **dict.fromkeys(("head", "decode_head"), "model.decoder"),
    **dict.fromkeys(("opt", "optim"), "optimizer.name"),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler", "lr_config"), "optimizer.schedule"),
    **dict.fromkeys(("warmup", "warm_up"), "optimizer.warmup_epochs"),
    **dict.fromkeys(("grad_clip", "clip", "clipnorm", "max_grad_norm", "gradient_clip_val"), "optimizer.clip_norm"),
    **dict.fromkeys(
        ("grad_accum", "accumulation", "accumulate", "accumulate_grad_batches"), "optimizer.gradient_accumulation_steps"
    ),
    **dict.fromkeys(("ce", "crossentropy", "xent"), "loss.cross_entropy"),
    **dict.fromkeys(("class_weight", "weighted"), "loss.class_weights"),
    **dict.fromkeys(("aux", "aux_weight", "auxiliary_head", "aux_head"), "loss.auxiliary"),
    **dict.fromkeys(("ohem", "ohem_thresh", "thresh", "sampler"), "loss.ohem_threshold"),
    **dict.fromkeys(("min_kept",), "loss.ohem_min_kept"),
    **dict.fromkeys(("hflip", "horizontal_flip", "fliplr"), "augment.flip"),
    **dict.fromkeys(("rotate", "degrees"), "augment.rotation"),
    **dict.fromkeys(("amp", "fp16", "bf16", "mixed_precision", "dtype", "half"), "accelerator.precision"),
    **dict.fromkeys(("gpu", "gpus", "device", "devices"), "accelerator.kind"),
    **dict.fromkeys(("ddp", "distributed", "distribution"), "accelerator.strategy"),
    **dict.fromkeys(("wandb_project", "use_wandb"), "log.wandb"),
}
NO_SETTING = {
    **dict.fromkeys(
        ("workers", "num_workers", "n_workers", "workers_per_gpu", "threads", "num_threads"),
        "tf.data reads with as many threads as are of use",
    ),
    **dict.fromkeys(
        ("resume", "resume_from", "continue", "checkpoint", "ckpt"), "the same command resumes a stopped run"
    ),
    **dict.fromkeys(("num_classes", "classes", "n_classes"), "the records say which classes there are"),
    **dict.fromkeys(("momentum",), "optimizer.name is adam or adamw"),
}


def describe_unknown(key: str) -> str:
    """The message on a key that is no setting, with the nearest one that is."""
    section, _, name = key.rpartition(".")
    section, shown = OLD_SECTIONS.get(section, section), shorten(key, 80)
    if key in SECTIONS:
        return f"{key}: expected one of its settings, as --{key}.NAME; they are {list_names(key)}"
    if reason := NO_SETTING.get(name.replace("-", "_").lower()):
        return f"{shown}: unknown setting; {reason}"
    if meant := find_meant(section, name):
        return f"{shown}: unknown setting; did you mean {meant}?"
    if section in SECTIONS:
        return f"{shown}: unknown setting; those of {section} are {list_names(section)}"
    return f"{shown}: unknown setting; --help lists all"


def find_meant(section: str, name: str) -> str | None:
    """The setting, or section, that an unknown one stands for; None rather than one that nobody would think of.

    It is known under this name elsewhere, or by all of its words, or spelt nearly so.
    """
    name = name.replace("-", "_").lower()
    known = {part: [part] for part in SECTIONS}
    for setting in SETTINGS:
        known.setdefault(setting.rpartition(".")[2], []).append(setting)
    inside = {
        short: kept
        for short, settings in known.items()
        if (kept := [s for s in settings if s.startswith(f"{section}.")])
    }
    for names in (inside, known) if inside else (known,):
        if len(names.get(name, ())) == 1:
            return names[name][0]
        if names is known and name in OTHER_NAMES:
            return OTHER_NAMES[name]
        words = {*name.split("_")} - {""}
        holding = [setting for short, settings in names.items() if words <= {*short.split("_")} for setting in settings]
        if len(holding) == 1 and len(name) > 3:
            return holding[0]
        begun = [setting for short, settings in names.items() if short.startswith(name) for setting in settings]
        if names is inside and len(begun) == 1:
            return begun[0]
        # Four fifths of the letters in order, as of a slip; "lr" is half of "blur", and is meant by nobody.
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.8) if len(name) > 3 else []
        if close and len(names[close[0]]) == 1:
            return names[close[0]][0]
        if names is inside and OTHER_NAMES.get(name, "").startswith(f"{section}."):
            return OTHER_NAMES[name]
    return None


def list_names(section: str) -> str:
    return ", ".join(part.name for part in dataclasses.fields(SECTIONS[section]))


def describe_wanted(key: str) -> str:
    """What a setting takes, in the user's words."""
    kind, default = SETTINGS[key].type, SETTINGS[key].default
    example = f", such as {default}" if isinstance(default, str) and get_origin(kind) is not Literal else ""
    return _in_words(kind) + example


def _in_words(kind: object) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
    if kind in words:
        return words[kind]
    if get_args(kind)[1:] == (Ellipsis,):
        return f"[{_in_words(get_args(kind)[0])}, ...]"
    if get_origin(kind) is tuple:
        return f"[{', '.join(map(_in_words, get_args(kind)))}]"
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) in (dict, list):
        return {dict: "names and values, as {hue: 0.5}", list: "groups, as [{effects: [blur, hue], p: 0.5}]"}[
            get_origin(kind)
        ]
    return " or ".join(map(_in_words, get_args(kind)))
