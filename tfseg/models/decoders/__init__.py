"""Decoders by name: features of an encoder -> one tensor, from which the head makes logits.

Each is a module with a function `decode(features, channels)` of the features at strides 2, 4, 8, 16 and 32, of which
the first may be None; STRIDE is that of what it returns. `config.tables` has its own widths.
"""

from tfseg.models.decoders import deeplabv3plus, fpn, linknet, pspnet, unet

DECODERS = {"unet": unet, "fpn": fpn, "linknet": linknet, "pspnet": pspnet, "deeplabv3plus": deeplabv3plus}
