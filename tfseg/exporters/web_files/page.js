// What the page shows and does; the mask comes of the worker.

import { Camera, explain } from "./camera.js";
import { encodeMask } from "./png.js";
import { RefusedImage, Segmenter } from "./segmenter.js";

const find = (id) => document.getElementById(id);
const segmenter = new Segmenter();
const camera = new Camera();
const MOST_THREADS = 4; // and half of the cores: what ONNX Runtime Web itself takes by default
let classes = [];
let current = null; // {name, height, width, ids}
let asked = 0; // counts what was asked for, so that only the newest is shown

start().catch((error) => {
  find("status").textContent = "";
  report(`The page cannot work: ${error.message}.`);
});

async function start() {
  find("status").textContent = "Loading the model…";
  const response = await fetch("labels.json");
  if (!response.ok) throw new Error(`labels.json: the server answers ${response.status}`);
  const labels = await response.json();
  classes = labels.classes;
  makeLegend();
  const threads = countThreads();
  const { version } = await segmenter.load(labels.resize ?? [], threads);
  find("runtime").textContent = `ONNX Runtime Web ${version}, ${threads} thread${threads > 1 ? "s" : ""}.`;
  for (const id of ["file", "camera", "facing"]) find(id).disabled = false;
  find("status").textContent = "Ready.";
}

/** How many threads compute the network: several only where the page is isolated. */
function countThreads() {
  return self.crossOriginIsolated ? Math.min(Math.ceil((navigator.hardwareConcurrency || 1) / 2), MOST_THREADS) : 1;
}

function makeLegend() {
  find("legend").tBodies[0].replaceChildren(
    ...classes.map(({ name, color }) => {
      const row = document.createElement("tr");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
      const head = document.createElement("th");
      head.scope = "row";
      head.append(swatch, name);
      row.append(head, document.createElement("td"));
      return row;
    }),
  );
}

function report(message) {
  find("alert").textContent = message;
}

// ---- images

async function segmentFile(file) {
  if (find("file").disabled) return;
  stopCamera();
  const turn = ++asked;
  report("");
  find("status").textContent = `${file.name} is in work…`;
  find("stage").setAttribute("aria-busy", "true");
  try {
    const result = await segmenter.segment(file);
    if (turn === asked && result) show(file.name, result);
  } catch (error) {
    if (turn !== asked) return;
    find("status").textContent = "";
    const isRefused = error instanceof RefusedImage;
    report(isRefused ? `${file.name} ${error.message}.` : `${file.name} could not be segmented: ${error.message}.`);
  } finally {
    if (turn === asked) find("stage").setAttribute("aria-busy", "false");
  }
}

function forgetFile() {
  find("file").value = "";
}

function takeFiles(files) {
  if (files.length === 1) segmentFile(files[0]);
  else report(files.length ? "One image at a time, please." : "There was no file in it; save the image first, then choose it.");
}

function show(name, { height, width, ids, shown, seconds }) {
  current = { name, height, width, ids };
  draw(shown, current);
  const counts = new Array(classes.length).fill(0);
  for (const id of ids) counts[id]++;
  const shares = counts.map((count) => (100 * count) / ids.length);
  [...find("legend").tBodies[0].rows].forEach((row, id) => {
    row.classList.toggle("absent", !counts[id]);
    row.cells[1].textContent = wordShare(shares[id]);
  });
  const found = classes.map(({ name }, id) => [shares[id], `${name} ${wordShare(shares[id])}`]);
  const words = found.filter(([share]) => share).sort(([one], [other]) => other - one).map(([, text]) => text);
  find("mask").setAttribute("aria-label", `${name} with its classes: ${words.join(", ")}`);
  find("status").textContent = `${name}, ${height}x${width} pixels; the network took ${seconds.toFixed(2)} s.`;
  find("result").hidden = false;
}

function wordShare(share) {
  return share && share < 0.1 ? "under 0.1 %" : `${share.toFixed(1)} %`;
}

/** Draws an image, and over it the colours of its classes, at the size at which it is shown. */
function draw(shown, { height, width, ids }) {
  const mask = new ImageData(shown.width, shown.height);
  const colors = Uint32Array.from(classes, ({ color: [red, green, blue] }) => littleEndian(red, green, blue));
  const pixels = new Uint32Array(mask.data.buffer);
  for (let y = 0; y < shown.height; y++) {
    const row = Math.floor(((y + 0.5) * height) / shown.height) * width;
    for (let x = 0; x < shown.width; x++) {
      pixels[y * shown.width + x] = colors[ids[row + Math.floor(((x + 0.5) * width) / shown.width)]];
    }
  }
  for (const id of ["image", "mask"]) {
    find(id).width = shown.width;
    find(id).height = shown.height;
  }
  find("image").getContext("2d").drawImage(shown, 0, 0);
  find("mask").getContext("2d").putImageData(mask, 0, 0);
  shown.close();
}

/** An opaque pixel as processors of browsers lay out its four bytes. */
function littleEndian(red, green, blue) {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

find("file").addEventListener("change", ({ target }) => {
  if (target.files.length) takeFiles(target.files);
});
find("file").addEventListener("click", forgetFile); // so that the same one can be chosen again
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dragged");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragged");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragged");
  forgetFile();
  takeFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) takeFiles(event.clipboardData.files);
});

// ---- camera

async function useCamera() {
  const turn = ++asked;
  report("");
  find("stage").setAttribute("aria-busy", "false"); // of a file that was in work
  find("camera").disabled = find("facing").disabled = true;
  find("status").textContent = "Waiting for the camera…";
  try {
    await camera.start(find("facing").value, segmentFrame, stopCamera);
    find("stop").hidden = !camera.runs;
  } catch (error) {
    if (turn === asked) {
      camera.stop();
      find("status").textContent = "";
      report(explain(error));
    }
  } finally {
    find("camera").disabled = find("facing").disabled = false;
  }
}

async function segmentFrame(frame) {
  const turn = asked;
  try {
    const result = await segmenter.segment(frame);
    if (turn === asked && result) show("camera", result);
  } catch (error) {
    if (turn !== asked) return;
    stopCamera();
    report(`The camera's image could not be segmented: ${error.message}.`);
  }
}

/** Stops the camera; its last frame stays. */
function stopCamera() {
  camera.stop();
  find("stop").hidden = true;
}

find("camera").addEventListener("click", useCamera);
find("facing").addEventListener("change", () => camera.runs && useCamera());
find("stop").addEventListener("click", () => {
  stopCamera();
  find("camera").focus();
});

// ---- what can be done with the result

function setOpacity() {
  const { value } = find("opacity");
  find("mask").style.opacity = String(value / 100);
  find("opacity-value").textContent = `${value} %`;
}

find("opacity").addEventListener("input", setOpacity);
setOpacity();

async function download(ending, colors) {
  const { name } = current;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await encodeMask(current, colors));
  link.download = `${name.replace(/\.[^.]*$/, "")}_${ending}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

find("save-classes").addEventListener("click", () => download("classes", null));
find("save-colors").addEventListener("click", () => download("colors", classes.map(({ color }) => color)));
