// The camera as a row of frames.

const REASONS = {
  NotAllowedError: "the browser was not allowed to use it; allow it in the settings of this page",
  NotFoundError: "there is none",
  NotReadableError: "another program uses it",
  OverconstrainedError: "there is none of this kind",
};

/** Words why there is no camera. */
export function explain(error) {
  return `The camera cannot be used: ${REASONS[error.name] ?? error.message}.`;
}

export class Camera {
  #video = document.createElement("video");
  #stream = null;
  #turn = 0; // counts starts and stops, so that what belongs to an earlier one ends

  constructor() {
    this.#video.muted = true;
    this.#video.playsInline = true; // else a phone shows it instead of the page
  }

  /** Whether frames come. */
  get runs() {
    return this.#stream !== null;
  }

  /**
   * Starts, and gives frame after frame to a function, the next one only when that is done.
   *
   * @param {"environment" | "user"} facing the camera at the back or at the front.
   * @param {(frame: ImageBitmap) => Promise<void>} use
   * @param {() => void} ended is called if the camera goes away.
   */
  async start(facing, use, ended) {
    this.stop();
    const turn = this.#turn;
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("browsers give it only to pages of https:// and of localhost");
    }
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing }, audio: false });
    if (turn !== this.#turn) { // stopped meanwhile
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.#stream = stream;
    this.#video.srcObject = stream;
    stream.getVideoTracks()[0].onended = () => {
      if (turn === this.#turn) {
        this.stop();
        ended();
      }
    };
    await this.#video.play();
    this.#follow(turn, use).catch(() => {
      if (turn !== this.#turn) return; // of a camera that was stopped, there is no frame
      this.stop();
      ended();
    });
  }

  async #follow(turn, use) {
    while (turn === this.#turn) {
      await this.#nextFrame();
      if (turn !== this.#turn) return;
      await use(await createImageBitmap(this.#video));
    }
  }

  #nextFrame() {
    return new Promise((resolve) => {
      if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(() => resolve());
      else requestAnimationFrame(() => resolve());
    });
  }

  /** Stops; frames in work are the last. */
  stop() {
    this.#turn += 1;
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }
}
