"""The script of the web page, which Streamlit runs at every visit and change; `web_app` starts it."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st  # pyright: ignore[reportMissingImports]  an extra

from tfseg.io import listing
from tfseg.io.pixel_formats import PixelFormat, as_rgb, describe_shown
from tfseg.io.png import encode_png
from tfseg.io.regular_files import read_file
from tfseg.serving import web_app, web_camera, web_view
from tfseg.serving.web_view import Model, OpenedImage, Prediction
from tfseg.visualization.overlay import blend

STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 76rem; padding-top: 3rem; padding-bottom: 3rem; }
[data-testid="stHeading"] h1 { padding-top: 0; }
@media (max-width: 40rem) { [data-testid="stMainBlockContainer"] { padding-top: 1.5rem; } }
[data-testid="stImage"] img { border-radius: 0.4rem; max-height: 80vh; object-fit: contain; }
[data-testid="stImageCaption"] { text-align: left; overflow-wrap: anywhere; }
[data-testid="stExpander"] h1 { font-size: 1.5rem; } [data-testid="stExpander"] h2 { font-size: 1.2rem; }
[class*="st-key-mask"] img { image-rendering: pixelated; }
.legend { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.legend thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.legend td, .legend th { padding: 0.3rem 0; border: 0; font-weight: 400; text-align: left; vertical-align: middle; }
.legend tr + tr > * { border-top: 1px solid rgb(128 128 128 / 0.2); }
.legend td:first-child { width: 1.75rem; } .legend .bar { width: 40%; }
.legend th { padding-right: 0.75rem; overflow-wrap: anywhere; } .legend small { opacity: 0.7; }
.legend i { display: block; width: 1.15rem; height: 1.15rem; border-radius: 0.25rem; print-color-adjust: exact;
  box-shadow: inset 0 0 0 1px rgb(128 128 128 / 0.7); }
.legend .bar div { border-radius: 0.25rem; background: rgb(128 128 128 / 0.15); }
.legend b { display: block; height: 0.45rem; min-width: 2px; border-radius: 0.25rem; background: #0d9488; }
.legend .share { width: 4.2rem; text-align: right; white-space: nowrap; }
.legend .absent b { visibility: hidden; } .legend .absent :is(th, .share) { opacity: 0.7; }
</style>"""


@st.cache_data(scope="session", max_entries=2, show_spinner=False)  # of up to 150 MB each
def open_image(content: bytes, name: str, _pixels: PixelFormat) -> OpenedImage:
    return web_view.open_image(content, name, _pixels)


@st.cache_data(scope="session", max_entries=4, show_spinner="The model looks at the image")
def classify(
    directory: Path, input_size: str | None, runtime: str | None, content: bytes, _image: OpenedImage
) -> Prediction:
    return web_view.classify(web_view.load_model(directory, input_size, runtime), _image)


def plain(text: str) -> str:
    """Makes text that Streamlit's Markdown shows as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def show(
    directories: Sequence[Path], samples: Path | None, input_size: str | None = None, runtime: str | None = None
) -> None:
    """Lays out the page."""
    st.set_page_config(page_title="tfseg: what is where in an image", layout="wide")
    st.html(STYLE)
    models = [web_view.load_model(directory, input_size, runtime) for directory in directories]
    left, right = st.columns(2, gap="medium")
    with left:
        st.title("What is where", anchor=False)
        if len(models) == 1:
            st.markdown(f"Each pixel of an image gets one of {len(models[0].predictor.classes)} classes.")
        else:
            st.markdown("Either model gives each pixel of an image one of its classes.")
        live = models[0].predictor.pixels.is_rgb and st.toggle("Live camera", key="live")
        chosen = None if live else choose(samples)
    if live:
        show_live(models)
    if chosen is None:
        return
    content, name = chosen
    try:
        image = open_image(content, name, models[0].predictor.pixels)
    except ValueError as error:
        right.warning(plain(f"{error}."))
        return
    with right:
        show_image(image, name)
    predictions = [classify(directory, input_size, runtime, content, image) for directory in directories]
    show_results(models, image, predictions, name)


def choose(samples: Path | None) -> tuple[bytes, str] | None:
    """Lets the visitor choose an image; the latest choice holds. Returns its file's content and name."""

    def choice(source: str) -> None:
        st.session_state.source = source

    uploaded = st.file_uploader(
        "Your photo",
        type=[suffix[1:] for suffix in (*listing.SUFFIXES, *listing.HEIC)],
        key="upload",
        on_change=choice,
        args=("upload",),
    )
    sample = None
    if samples:
        sample = st.selectbox(
            "Or a sample",
            web_view.list_samples(samples),
            format_func=lambda path: path.relative_to(samples).as_posix(),
            on_change=choice,
            args=("sample",),
        )
    if uploaded and (sample is None or st.session_state.get("source") == "upload"):
        return uploaded.getvalue(), Path(uploaded.name).name
    if sample is None:
        return None
    try:
        return read_file(sample), sample.name
    except ValueError as error:  # a pipe, say
        st.warning(plain(f"{error}."))
    except OSError as error:  # it is gone, or a link to nowhere
        st.warning(plain(f"{sample.name} cannot be read: {error.strerror}."))
        return None


@st.fragment
def show_results(models: Sequence[Model], image: OpenedImage, predictions: Sequence[Prediction], name: str) -> None:
    """Shows what depends on the opacity, which may change without the rest of the page."""
    with st.columns(2, gap="medium")[0]:
        opacity = choose_opacity()
    left, right = st.columns(2, gap="medium")
    if len(models) == 1:
        model, prediction = models[0], predictions[0]
        with left:
            show_overlay(model, image, prediction, name, opacity)
        with right:
            show_mask(model, prediction)
        left, right = st.columns(2, gap="medium")
        with left:
            show_legend(model, prediction)
        with right:
            show_rest(model, image, prediction, name, opacity)
        return
    for column, model, prediction in zip((left, right), models, predictions, strict=True):
        with column:
            st.subheader(plain(model.name), anchor=False)
            show_overlay(model, image, prediction, name, opacity)
            show_mask(model, prediction)
            show_legend(model, prediction)
            show_rest(model, image, prediction, name, opacity)


@st.fragment
def show_live(models: Sequence[Model]) -> None:
    """Shows what the models see in the latest frame of the visitor's camera; each frame runs this anew, and no more."""
    columns = st.columns(2, gap="medium")
    with columns[0]:
        controls = st.container()
        opacity = choose_opacity()
    number, frame = 0, None
    try:
        if read := web_camera.read_frame(st.session_state.get("camera")):
            number, content = read
            frame = web_view.open_image(content, "the frame", models[0].predictor.pixels)
    except ValueError as error:
        st.warning(plain(f"{error}."))
    if frame:
        shown = columns[1:] if len(models) == 1 else st.columns(2, gap="medium")
        for column, model in zip(shown, models, strict=True):
            with column:
                prediction = web_view.classify(model, frame)
                show_overlay(model, frame, prediction, "the camera", opacity)
                st.markdown(f"{1000 * prediction.seconds:,.0f} ms")
                show_legend(model, prediction)
    with controls:  # last, so that the browser sends the next frame when it has this one's mask
        camera = st.components.v2.component("camera", html=web_camera.HTML, css=web_camera.CSS, js=web_camera.JS)
        camera(key="camera", data={"answered": number}, on_frame_change=lambda: None)


def choose_opacity() -> float:
    return st.slider("Opacity of the classes' colours", 0, 100, 50, step=5, format="%d %%") / 100


def show_overlay(model: Model, image: OpenedImage, prediction: Prediction, name: str, opacity: float) -> None:
    pixels, class_ids = (
        web_view.reduce(array, side=web_view.LONGEST_SHOWN) for array in (image.pixels, prediction.class_ids)
    )
    show_pixels(
        blend(pixels, class_ids, model.predictor.colors, opacity),
        "The classes' colours over the image",
        f"{name} with the colours of the classes of {model.name} laid over it at {opacity:.0%} opacity",
    )


def show_image(image: OpenedImage, name: str) -> None:
    height, width = image.pixels.shape[:2]
    shown = describe_shown(image.pixels.shape[-1])
    caption = f"{name}, {width} x {height} pixels{', ' if shown else ''}{shown}"
    pixels = web_view.reduce(image.pixels, side=web_view.LONGEST_SHOWN)
    show_pixels(as_rgb(pixels), caption, f"the image {name}")


def show_mask(model: Model, prediction: Prediction) -> None:
    class_ids = web_view.reduce(prediction.class_ids, side=web_view.LONGEST_SHOWN)
    parts = web_view.describe(model.predictor.classes, shares_of(model, prediction))
    with st.container(key=f"mask of {model.directory}"):  # its edges are shown sharp
        show_pixels(model.predictor.colors[class_ids], "The mask alone", f"mask of {model.name}: {parts}")


def show_pixels(pixels: np.ndarray, caption: str, description: str) -> None:
    file = encode_png(pixels)
    st.image(file, caption=plain(caption), alt=description, width="stretch", output_format="PNG")  # not JPEG, as else


def shares_of(model: Model, prediction: Prediction) -> np.ndarray:
    return web_view.shares(prediction.class_ids, len(model.predictor.classes))


def show_legend(model: Model, prediction: Prediction) -> None:
    predictor = model.predictor
    st.html(web_view.legend(predictor.classes, predictor.colors, shares_of(model, prediction)))


def show_rest(model: Model, image: OpenedImage, prediction: Prediction, name: str, opacity: float) -> None:
    """Shows what the prediction took, what can be saved, and what is known of the model."""
    height, width = prediction.class_ids.shape
    seen_height, seen_width = prediction.seen
    seen = f", seen at {seen_width} x {seen_height}" if prediction.seen != (height, width) else ""
    st.markdown(f"{1000 * prediction.seconds:,.0f} ms for {width} x {height} pixels{seen}")
    stem = re.sub(r"[^\w-]+", "_", Path(name).stem)
    with st.container(horizontal=True):
        st.download_button(
            "Class ids",
            encode_png(prediction.class_ids),
            f"{stem}_classes.png",
            mime="image/png",
            key=f"classes of {model.directory}",
            icon=":material/download:",
            help="PNG with the id of its class for each pixel, one byte each",
            on_click="ignore",
        )
        st.download_button(
            "Overlay",
            encode_png(blend(image.pixels, prediction.class_ids, model.predictor.colors, opacity)),
            f"{stem}_overlay.png",
            mime="image/png",
            key=f"overlay of {model.directory}",
            icon=":material/download:",
            on_click="ignore",
        )
    if model.card or model.scores:
        with st.expander(plain(f"About {model.name}")):
            st.markdown("\n\n".join(filter(None, (model.card, model.scores))))


if __name__ == "__main__":
    options = web_app.read_page_arguments(sys.argv[1:])
    show(options.model, options.samples, options.input_size, options.runtime)
