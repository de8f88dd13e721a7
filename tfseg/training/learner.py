"""What `fit` trains: network, augmentation and loss as one model."""

import functools
import time

import keras
from keras import ops

from tfseg import backend
from tfseg.models.auxiliary import drop_head
from tfseg.models.fold import fold
from tfseg.models.quantize import quantize


class PlainLearner(keras.Model):
    """A network to train: augments the batch on the device, inside the compiled step, and weighs the loss.

    `steps` counts the batches that it has learnt from; it is a weight, so that a training that resumes from saved
    weights draws as it would have.

    With an auxiliary head, what learns is the network and the head together; the network itself has no head, so that
    none is validated, exported or counted. Checkpoints hold both.

    Batches are {"image": uint8 (batch, height, width, 3), "mask": uint8 (batch, height, width)}, or int8 of the same
    bits. The augmented mask is an output beside the logits, for the loss to see. So Keras' own train step serves, on
    every backend.

    Args:
        network: pixels -> logits, or -> logits and those of its auxiliary head, see `segmenter.build_network`.
        loss: `losses.SegmentationLoss`, whose auxiliary weight is above 0 if there is a head, and else 0.
        augmentation: `augmentation.augmenter.Augmenter`.
        quantized: whether steps compute with rounded weights and activations, see `models.quantize`.

    Attributes:
        network: without the head.
        trained: what a step computes, the same layers with the head; the network itself if there is none.
        folded: the same in inference, as it is exported; see `models.fold`.
    """

    def __init__(self, network: keras.Model, loss, augmentation, quantized: bool = False):
        super().__init__()
        self.network = drop_head(network)
        self.trained = network
        self.folded = fold(network)
        self.step_network = quantize(network) if quantized else functools.partial(network, training=True)
        self.loss_function = loss
        self.augmentation = augmentation
        counter = {"shape": (), "dtype": "int32", "trainable": False, "aggregation": "only_first_replica"}
        self.steps = self.add_weight(name="steps", initializer="zeros", **counter)
        self.terms = [name for name, weight in loss.weights.items() if weight]
        if self.has_head != ("auxiliary" in self.terms):
            wanted = "above 0 of a network with" if self.has_head else "0 of a network without"
            weight = loss.weights.get("auxiliary", 0)
            raise ValueError(f"loss.auxiliary: expected {wanted} an auxiliary head, got {weight}")
        self.means = [keras.metrics.Mean(name) for name in self.terms] if len(self.terms) > 1 else []  # else the loss
        self.fault = self.add_weight(
            name="fault",
            shape=(1 + len(self.terms),),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.waited = 0.0  # seconds that steps on TensorFlow have waited for their batches
        self.seen = False  # whether a batch was looked at for what plainly is wrong
        self.built = True  # the network is, and there is nothing else

    def compile(self, *args, **kwargs):
        """Compiles as Keras does, and makes the optimizer's variables at once.

        Within the first step, where Keras makes them, TensorFlow builds a branch for each and traces the step twice.
        """
        super().compile(*args, **kwargs)
        self.optimizer.build(self.trainable_variables)

    @property
    def has_head(self) -> bool:
        """Whether there is an auxiliary head."""
        return self.trained is not self.network

    def call(self, batch, training=False):
        image, mask = batch["image"], batch["mask"]
        backend.check_pixels(image)
        if training:
            image, mask = self.augmentation(image, mask, step=self.steps, replica=backend.find_replica())
            self.steps.assign(self.steps + 1)
        else:
            mask = backend.as_ids(mask)
        image = backend.as_floats(image)
        outputs = self.step_network(image) if training else self.folded(image)
        if not self.has_head:
            return {"logits": outputs, "mask": mask}
        logits, auxiliary_logits = outputs
        return {"logits": logits, "mask": mask, "auxiliary_logits": auxiliary_logits}

    def compute_loss(self, x, y, y_pred: dict, sample_weight=None, training=True):
        terms = self.loss_function.terms(y_pred["mask"], y_pred["logits"], y_pred.get("auxiliary_logits"))
        terms = {name: backend.mean_over_replicas(ops.mean(term)) for name, term in terms.items()}
        for mean in self.means:
            mean.update_state(terms[mean.name])
        self.note_fault(list(terms.values()))
        loss = sum(self.loss_function.weights[name] * term for name, term in terms.items())
        replicas = backend.count_replicas()
        return loss / replicas if replicas > 1 else loss  # Keras sums the gradients of all

    def note_fault(self, terms):
        """Keeps the step and the loss's terms, if one of them is not finite for the first time."""
        terms, before = ops.stack(terms), ops.convert_to_tensor(self.fault)
        finite = ops.cast(ops.sum(terms - terms) == 0, "float32")  # Metal has no IsFinite
        found = ops.concatenate([ops.cast(self.steps, "float32")[None], terms])
        self.fault.assign(ops.where(finite + before[0] == 0, found, before))

    def check_loss(self) -> None:
        """Raises NotFinite if the loss of any step so far was not finite. It waits for the device."""
        backend.sync_state(self)
        step, *terms = ops.convert_to_numpy(self.fault).tolist()
        if step:
            raise NotFinite(int(step), dict(zip(self.terms, terms, strict=True)))


class Learner(PlainLearner):
    """The same, with a train step of its own on TensorFlow.

    It overrides what is private in Keras, see `keras_hooks`.
    """

    def make_train_function(self, force=False):
        """Makes it as Keras does, but on TensorFlow, where a batch is fetched before the compiled step, not within it.

        Nor can Keras' own be run by several processes: it reduces what each replica gives, to ends that fail there.
        """
        if keras.backend.backend() != "tensorflow":
            super().make_train_function(force)
        elif self.train_function is None or force:
            step = backend.compile_step(self.train_step, self.distribute_strategy, self.jit_compile)

            def fetch_and_step(iterator):
                start = time.monotonic()
                batch = next(iterator)
                self.waited += time.monotonic() - start
                if not self.seen:  # once: it would wait for the device
                    keras.tree.map_structure(backend.check_pixels, batch)
                    self.seen = True
                return step(batch)

            self.train_function = fetch_and_step

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: all is built. Keras would average the bytes of a batch over replicas, which fails."""


class NotFinite(Exception):
    """The loss was nan or infinite.

    Args:
        step: at which, counted from 1, over all epochs.
        terms: of the loss: name -> its value there.
    """

    def __init__(self, step: int, terms: dict[str, float]):
        super().__init__(step, terms)
        self.step, self.terms = step, terms


def finish_epoch(learner: PlainLearner, batches, epoch: int, step: int, callbacks: list, params: dict) -> None:
    """Takes the steps from `step` on that an epoch is short of, and ends it, as `fit` does from its beginning.

    Args:
        learner: compiled, its checkpoint loaded.
        batches: iterator of batches, from that step on.
        epoch: counted from 0.
        step: of the epoch, counted from 0.
        callbacks: as of `fit`.
        params: "epochs" and "steps" of the whole training.
    """
    learner.stop_training = False
    calls = keras.callbacks.CallbackList(callbacks, model=learner, **params)
    calls.on_train_begin()
    calls.on_epoch_begin(epoch)
    for index in range(step, params["steps"]):
        batch = next(batches)
        calls.on_train_batch_begin(index)
        before = [ops.convert_to_numpy(variable) for variable in learner.metrics_variables]
        learner.train_on_batch(batch)  # which begins its sums anew
        for variable, value in zip(learner.metrics_variables, before, strict=True):
            variable.assign(value + variable)
        calls.on_train_batch_end(index, learner.get_metrics_result())
    logs = {name: float(value) for name, value in learner.get_metrics_result().items()}
    calls.on_epoch_end(epoch, logs)
