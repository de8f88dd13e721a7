import re


def assign(model, state):
    blocks = [l.name[: -len("dwconv")] for l in model.layers if l.name.endswith("dwconv")]
    names = {l.name for l in model.layers}

    def bn(p):
        return [state[p + s] for s in (".weight", ".bias", ".running_mean", ".running_var")]

    def conv(p):
        return [state[p + ".weight"].transpose(2, 3, 1, 0)]

    L = model.get_layer
    L("stem_conv").set_weights(conv("_conv_stem"))
    L("stem_bn").set_weights(bn("_bn0"))
    for i, b in enumerate(blocks):
        p = f"_blocks.{i}."
        if f"{p}_expand_conv.weight" in state:
            L(b + "expand_conv").set_weights(conv(p + "_expand_conv"))
            L(b + "expand_bn").set_weights(bn(p + "_bn0"))
        L(b + "dwconv").set_weights([state[p + "_depthwise_conv.weight"].transpose(2, 3, 0, 1)])
        L(b + "bn").set_weights(bn(p + "_bn1"))
        L(b + "project_conv").set_weights(conv(p + "_project_conv"))
        L(b + "project_bn").set_weights(bn(p + "_bn2"))
    L("top_conv").set_weights(conv("_conv_head"))
    L("top_bn").set_weights(bn("_bn1"))
    if "predictions" in names:
        L("predictions").set_weights([state["_fc.weight"].T, state["_fc.bias"]])
