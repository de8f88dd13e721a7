"""Names of settings and flags that are no longer used: each still works for one release, with one warning.

Delete an entry in the release after the one that renamed it.
"""

# Dotted key of a config -> its name now. A whole section stands as "section.".
SETTINGS = {
    "device.kind": "accelerator.kind",
    "device.precision": "accelerator.precision",
    "device.prefetch": "accelerator.prefetch",
    "device.distribution": "accelerator.strategy",
    "data.scale": "data.crop_scale",
    "data.max_class_share": "data.cat_max_ratio",
    "data.rare_classes": "data.rare_class_sampling",
    "data.shuffle": "data.shuffle_buffer",
    "loss.learn_void": "loss.ignore_class",
    "optimizer.accumulate": "optimizer.gradient_accumulation_steps",
    "optimizer.ema": "optimizer.ema_momentum",
    "optimizer.encoder_rate": "optimizer.encoder_lr_multiplier",
}
# Old setting -> old value -> value of the new one, where the values changed too; others stay as they are.
SETTING_VALUES = {"loss.learn_void": {False: 0, True: None}}

# Old flag of a command -> what stands for it now; "{}" is its value.
_INFERENCE = {
    "--window": ("--sliding-window", "{}"),
    "--flip": ("--tta", "flip"),
    "--scales": ("--tta-scales", "{}"),
}
FLAGS = {
    "predict": {**_INFERENCE, "--rate": ("--fps", "{}")},
    "serve": _INFERENCE,
    "evaluate": {**_INFERENCE, "--learn-void": ("--ignore-class", "none")},
    "export": {"--pictures": ("--images", "{}")},
}
