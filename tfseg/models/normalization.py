"""By which mean and deviation, RGB, of pixels in 0..1, networks were trained on images."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
INCEPTION = ((0.5,) * 3, (0.5,) * 3)  # -1 to 1
EFFICIENTNET_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)
