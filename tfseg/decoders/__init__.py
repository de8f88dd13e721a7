"""Decoders by name: features of an encoder -> one tensor, from which the head makes logits.

Each is a module with a function `decode(features, channels)`: the features at strides 2, 4, 8, 16 and 32, of which
those at the finest may be None, and the decoder's widths, None for its own. STRIDE is that of what it returns.
"""

from tfseg.decoders import deeplabv3plus, fpn, linknet, pspnet, unet

DECODERS = {"unet": unet, "fpn": fpn, "linknet": linknet, "pspnet": pspnet, "deeplabv3plus": deeplabv3plus}
