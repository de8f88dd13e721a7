"""The lines of a summary that is a literal; tests/verbs/test_describe.py describes real networks."""

from tfseg.diagnostics.model_summary import ModelSummary, table


def test_unknown_layers_are_named():
    found = {"encoder": "x", "size": [1, 1], "batch_size": 1, "precision": "float32", "gflops": 0.0}
    found |= {"parameters": dict.fromkeys(("all", "encoder", "decoder", "head", "trainable", "not_trainable"), 0)}
    found["parameters"]["bytes"], found["gmacs"] = 0, dict.fromkeys(("all", "encoder", "decoder", "head"), 0.0)
    found |= {"receptive_field": {"height": 7, "width": 9, "pools_globally": True}, "estimated_bytes": {"all": 0}}
    lines = list(table(ModelSummary(**found, not_counted={"Mixture": {"layers": 2, "weights": 1234}})))
    assert "not counted          Mixture: 2 layers with 1,234 weights" in lines
    assert "receptive field      7x9 pixels; global pooling or attention adds the whole image" in lines
