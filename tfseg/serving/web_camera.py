"""The camera of the page's visitor: a part of the page that sends frames, and what becomes of them here.

The browser sends a JPEG, waits until its mask is shown, and sends the next, so frames that the model is too slow for
are never sent. Nothing but the page's own connection is needed: no video stream, no server that finds a way through
firewalls. Browsers give a camera only to pages at https:// or on their own machine.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

MOST_BYTES = 2**20  # of a frame, whose longer side has 640 pixels: 20 times what it takes

HTML = '<p role="status"></p><video muted playsinline hidden></video><button type="button">Start the camera</button>'
CSS = """
video { width: 100%; max-height: 40vh; object-fit: contain; border-radius: 0.4rem; margin-bottom: 0.5rem }
button { font: inherit; color: inherit; background: none; padding: 0.4rem 0.8rem; border-radius: 0.5rem;
  border: 1px solid var(--st-border-color, #8888); cursor: pointer }
button:focus-visible { outline: 2px solid var(--st-primary-color, #0d9488) }
p { margin: 0 0 0.5rem } p:empty { display: none }
"""
JS = """
const LONGEST = 640, PATIENCE = 10000;  // pixels; ms after which a frame is taken for lost
const cameras = new WeakMap();

function make(parent) {
  const [status, video, button] = ["p", "video", "button"].map(name => parent.querySelector(name));
  const canvas = document.createElement("canvas");
  const camera = { answered: 0, number: 0, sent: 0, stream: null };
  function stop(text = "") {
    camera.stream?.getTracks().forEach(track => track.stop());
    clearInterval(camera.timer);
    camera.stream = video.srcObject = null;
    video.hidden = true;
    status.textContent = text;
    button.textContent = "Start the camera";
  }
  function tick() {
    if (!video.isConnected) return stop();
    const waiting = camera.answered < camera.number && Date.now() - camera.sent < PATIENCE;
    if (waiting || !video.videoWidth) return;
    const factor = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(factor * video.videoWidth);
    canvas.height = Math.round(factor * video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    camera.number = Math.max(camera.number, camera.answered) + 1;
    camera.sent = Date.now();
    camera.send({ number: camera.number, jpeg: canvas.toDataURL("image/jpeg", 0.85).split(",")[1] });
  }
  async function start() {
    if (!navigator.mediaDevices?.getUserMedia)
      return stop("The browser gives a camera only to pages at https:// or on its own machine.");
    button.disabled = true;
    try {
      const wanted = { width: { ideal: LONGEST }, facingMode: "environment" };
      camera.stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      camera.stream.getVideoTracks()[0].onended = () => stop("The camera was taken away.");
      video.srcObject = camera.stream;
      await video.play();
      video.hidden = false;
      status.textContent = "";
      button.textContent = "Stop the camera";
      camera.timer = setInterval(tick, 50);
    } catch (error) {
      stop(`The browser gives no camera: ${error.message || error.name}.`);
    } finally {
      button.disabled = false;
    }
  }
  button.onclick = () => camera.stream ? stop() : start();
  return camera;
}

export default function ({ data, parentElement, setStateValue }) {
  if (!cameras.has(parentElement)) cameras.set(parentElement, make(parentElement));
  const camera = cameras.get(parentElement);
  camera.send = frame => setStateValue("frame", frame);
  camera.answered = data.answered;
}
"""


def read_frame(state: Any) -> tuple[int, bytes] | None:
    """Reads what the browser sent last.

    Args:
        state: of the part of the page, by names.

    Returns:
        The number of the frame, and its file, a JPEG if the browser is honest; None: there is none yet.

    Raises:
        ValueError: it is something else, or too large.
    """
    frame = state.get("frame") if isinstance(state, Mapping) else None
    if frame is None:
        return None
    number, text = (frame.get("number"), frame.get("jpeg")) if isinstance(frame, Mapping) else (None, None)
    if type(number) is not int or not isinstance(text, str) or len(text) > MOST_BYTES * 4 // 3:
        raise ValueError("the camera sent no frame")
    try:
        return number, base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the camera sent no frame") from None
