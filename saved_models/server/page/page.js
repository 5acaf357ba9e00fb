"use strict";
// The page of `scn-keras serve`: shows the landmarks of an image and their uncertainty.

const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const STAGES = {
  local_appearance: "local appearance",
  spatial_configuration: "spatial configuration",
  product: "product",
};

let model = null;
let currentFile = null;
let prediction = null; // the server's answer for the current file
let heatmaps = null; // likewise, once they were requested
let selected = null; // the index of a landmark
let latestRequest = 0; // answers to older requests are dropped

function element(name, attributes = {}, text = "") {
  const svg = ["g", "circle", "ellipse", "line", "text", "title"].includes(name);
  const created = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  if (text) created.textContent = text;
  return created;
}

function showStatus(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", failed);
}

async function fetchJson(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `The server answered ${response.status}.`);
  return body;
}

function query() {
  const parameters = new URLSearchParams();
  const x = at("spacing_x").value.trim().replace(",", ".");
  const y = at("spacing_y").value.trim().replace(",", ".") || x;
  if (x || y) {
    for (const value of [x, y])
      if (!(Number(value) > 0)) throw new Error(`A spacing is a number above 0, not "${value}".`);
    parameters.set("spacing_x", x);
    parameters.set("spacing_y", y);
  }
  return parameters;
}

async function locate(file) {
  currentFile = file;
  const request = ++latestRequest;
  prediction = heatmaps = selected = null;
  at("again").disabled = false;
  at("result").hidden = true;
  showStatus(`Looking for landmarks in ${file.name} …`);
  try {
    const result = await fetchJson(`page/locate?${query()}`, {
      method: "POST",
      body: file,
      headers: { "X-File-Name": encodeURIComponent(file.name) }, // not in the address, which is logged
    });
    if (request !== latestRequest) return;
    prediction = result;
    await showImage(file);
    if (request !== latestRequest) return;
    showPrediction();
    showStatus(`Found ${prediction.landmarks.length} landmarks in ${file.name}.`);
  } catch (error) {
    if (request === latestRequest) showStatus(error.message, true);
  }
}

async function showImage(file) {
  const image = at("image");
  URL.revokeObjectURL(image.src);
  image.src = prediction.image || URL.createObjectURL(file);
  image.alt = `${file.name}, ${prediction.size.join(" x ")} pixels`;
  // The points keep their places also over an image that the browser cannot show.
  at("stage").style.aspectRatio = prediction.size.join(" / ");
  image.hidden = await image.decode().then(() => false, () => true);
  if (image.hidden) prediction.notes.push("This browser cannot show the image; the points are right all the same.");
}

function showPrediction() {
  at("result").hidden = false;
  showVerdict();
  at("notes").replaceChildren(...prediction.notes.map((note) => element("li", {}, note)));
  const stem = currentFile.name.replace(/\.[^.]*$/, "");
  setDownload(at("markups"), prediction.markups, `${stem}.mrk.json`, "application/json");
  setDownload(at("csv"), prediction.csv, `${stem}.csv`, "text/csv");
  showTable();
  drawPoints();
  at("stages").elements[0].checked = true;
  at("heat").hidden = true;
  select(null);
}

function showVerdict() {
  const verdict = at("verdict");
  const absent = prediction.landmarks.filter((landmark) => landmark.present === false).length;
  const parts = [];
  if (!model.has_calibration) parts.push("This model was not calibrated: the accuracy of its points and the similarity of the image to the training images are unknown.");
  else if (prediction.trusted === false) parts.push("Do not trust this answer: the image is unlike the training images of the model.");
  if (prediction.trusted === true) parts.push("The image is like the training images of the model.");
  const lost = prediction.landmarks.filter((landmark) => !landmark.px).length;
  if (lost) parts.push(`${lost} of ${prediction.landmarks.length} landmarks were not found.`);
  if (absent) parts.push(`${absent} of ${prediction.landmarks.length} landmarks are probably not in the image.`);
  if (!prediction.calibrated) parts.push("Without a spacing, coordinates are in pixels.");
  verdict.textContent = parts.join(" ");
  verdict.hidden = !parts.length;
  const bad = model.has_calibration && prediction.trusted === false;
  verdict.className = `verdict ${bad ? "bad" : prediction.trusted ? "good" : ""}`;
}

function setDownload(link, text, name, type) {
  URL.revokeObjectURL(link.href);
  link.hidden = !isKnown(text);
  if (link.hidden) return;
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
}

// Every value of an answer but names, sizes and lists may be null: not known.
function isKnown(value) {
  return value !== null && value !== undefined;
}

function number(value, digits = 1) {
  return isKnown(value) ? value.toFixed(digits) : "–";
}

function coordinatesOf(landmark) {
  return (prediction.calibrated ? landmark.mm : landmark.px) || [null, null];
}

function remarkOn(landmark) {
  if (!landmark.px) return "not found";
  return landmark.present === false ? "absent?" : "";
}

// The radii of a landmark's ellipse in pixels of the image, or null.
function radiiOf(landmark) {
  if (!isKnown(landmark.radius90)) return null;
  if (!prediction.calibrated) return [landmark.radius90, landmark.radius90];
  return prediction.spacing && prediction.spacing.map((mm) => landmark.radius90 / mm);
}

function showTable() {
  const unit = prediction.calibrated ? "mm" : "px";
  const hasRadii = prediction.landmarks.some((landmark) => isKnown(landmark.radius90));
  const head = ["landmark", `x ${unit}`, `y ${unit}`, ...(hasRadii ? [`± ${unit}`] : []), "score"];
  at("head").replaceChildren(...head.map((text) => element("th", { scope: "col" }, text)));
  const rows = prediction.landmarks.map((landmark, index) => {
    const row = element("tr", { "data-index": index });
    if (landmark.present === false) row.classList.add("absent");
    const remark = remarkOn(landmark);
    row.append(element("th", { scope: "row" }, landmark.name + (remark && ` (${remark})`)));
    const cells = [...coordinatesOf(landmark).map((v) => number(v)), ...(hasRadii ? [number(landmark.radius90)] : []), number(landmark.score, 2)];
    row.append(...cells.map((text) => element("td", {}, text)));
    row.addEventListener("mouseenter", () => select(index));
    row.addEventListener("click", () => select(index));
    return row;
  });
  at("rows").replaceChildren(...rows);
}

function drawPoints() {
  const [width, height] = prediction.size;
  const svg = at("points");
  // A pixel's centre is at whole numbers.
  svg.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  svg.replaceChildren();
  const dot = width / Math.max(at("stage").clientWidth, 1);
  for (const [a, b] of model.schema.links) {
    const [from, to] = [prediction.landmarks[a], prediction.landmarks[b]];
    const [p, q] = [from.px, to.px];
    if (!p || !q || from.present === false || to.present === false) continue;
    svg.append(element("line", { class: "link", x1: p[0], y1: p[1], x2: q[0], y2: q[1] }));
  }
  prediction.landmarks.forEach((landmark, index) => {
    if (!landmark.px) return;
    const [cx, cy] = landmark.px;
    const text = describe(landmark);
    const group = element("g", { class: "point", tabindex: 0, role: "img", "aria-label": text, "data-index": index });
    if (landmark.present === false) group.classList.add("absent");
    const radii = radiiOf(landmark);
    if (radii) group.append(element("ellipse", { class: "radius", cx, cy, rx: radii[0], ry: radii[1] }));
    group.append(element("circle", { class: "target", cx, cy, r: 9 * dot }));
    group.append(element("circle", { class: "dot", cx, cy, r: 3.5 * dot }));
    group.append(element("title", {}, text));
    for (const event of ["mouseenter", "focus", "click"]) group.addEventListener(event, () => select(index));
    svg.append(group);
  });
}

function describe(landmark) {
  if (!landmark.px) return `${landmark.name}: not found`;
  const unit = prediction.calibrated ? "mm" : "px";
  const parts = [`${landmark.name}: ${coordinatesOf(landmark).map((v) => number(v)).join(", ")} ${unit}`];
  if (isKnown(landmark.radius90)) parts.push(`within ${number(landmark.radius90)} ${unit} nine times in ten`);
  parts.push(`score ${number(landmark.score, 2)}`);
  if (landmark.present === false) parts.push("probably not in the image");
  return parts.join(", ");
}

function select(index) {
  selected = index;
  for (const marked of document.querySelectorAll("[data-index]"))
    marked.classList.toggle("picked", Number(marked.dataset.index) === index);
  at("picked").textContent = index === null ? "Point at a landmark, or tap it, for its name." : describe(prediction.landmarks[index]);
  for (const label of at("points").querySelectorAll(".tag")) label.remove();
  if (index !== null && prediction.landmarks[index].px) showTag(prediction.landmarks[index]);
  drawHeat();
}

// Writes the name of a landmark beside it, within the image.
function showTag(landmark) {
  const [x, y] = landmark.px;
  const [width, height] = prediction.size;
  const size = (14 * width) / Math.max(at("stage").clientWidth, 1);
  const tag = element("text", { class: "tag", x, y, "font-size": size, "stroke-width": size / 4 }, landmark.name);
  at("points").append(tag);
  const length = tag.getComputedTextLength() + size / 2;
  if (length > width) tag.setAttribute("font-size", (size * width) / length);
  const left = x > 0.5 * width ? x - 0.8 * size - length : x + 0.8 * size;
  tag.setAttribute("x", Math.max(size / 4, Math.min(left, width - length)));
  const above = y - 0.6 * size;
  tag.setAttribute("y", above < size ? Math.min(y + 1.5 * size, height - size / 2) : Math.min(above, height - size / 2));
}

async function showStage(name) {
  if (!name) {
    at("heat").hidden = true;
    return;
  }
  if (!heatmaps) {
    const request = latestRequest;
    showStatus("Asking for the heatmaps …");
    try {
      const result = await fetchJson(`page/heatmaps?${query()}`, { method: "POST", body: currentFile });
      const stages = {};
      for (const [stage, url] of Object.entries(result.stages)) stages[stage] = await pixels(url);
      if (request !== latestRequest) return;
      heatmaps = { ...result, stages };
      showStatus(`Orange is above zero, blue below, relative to the largest value${selected === null ? "; point at a landmark for its own map" : ""}.`);
    } catch (error) {
      if (request === latestRequest) showStatus(error.message, true);
      return;
    }
  }
  drawHeat();
}

async function pixels(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = element("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, image.width, image.height).data;
  return Int16Array.from({ length: data.length / 4 }, (_, i) => data[4 * i] - 128);
}

// The heatmap of the selected landmark; if none is, the largest value at each pixel.
function drawHeat() {
  const name = document.querySelector("[name=stage]:checked").value;
  const canvas = at("heat");
  canvas.hidden = !(name && heatmaps);
  if (canvas.hidden) return;
  const { rows, columns, grid_to_source: map } = heatmaps;
  const levels = heatmaps.stages[name];
  if (!levels || !map) {
    canvas.hidden = true;
    showStatus(levels ? "The place of the heatmaps in the image is not known." : `This network has no ${STAGES[name]}.`);
    return;
  }
  const size = rows * columns;
  const from = selected === null ? 0 : selected;
  const until = selected === null ? levels.length / size : selected + 1;
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  for (let i = 0; i < size; i++) {
    let level = 0;
    for (let k = from; k < until; k++) {
      const value = levels[k * size + i];
      if (selected === null ? value > level : true) level = value;
    }
    const color = level > 0 ? [230, 159, 0] : [86, 180, 233];
    picture.data.set([...color, Math.min(255, 2.2 * Math.abs(level))], 4 * i);
  }
  context.putImageData(picture, 0, 0);
  // Maps pixels of the grid to pixels of the image and these to pixels of the page.
  const scale = at("stage").clientWidth / prediction.size[0];
  const [[a, c, e], [b, d, f]] = map;
  const left = e + 0.5 - 0.5 * (a + c);
  const top = f + 0.5 - 0.5 * (b + d);
  canvas.style.transform = `matrix(${[a, b, c, d, left, top].map((v) => v * scale).join(",")})`;
}

function listen() {
  at("file").addEventListener("change", () => {
    if (!at("file").files[0]) return;
    locate(at("file").files[0]);
    at("file").value = ""; // otherwise the same file could not be chosen again
  });
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (currentFile) locate(currentFile);
  });
  const drop = at("drop");
  for (const name of ["dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) locate(event.dataTransfer.files[0]);
    });
  at("stages").addEventListener("change", (event) => showStage(event.target.value));
  at("stage").addEventListener("mouseleave", () => prediction && select(null));
  window.addEventListener("resize", () => {
    if (!prediction) return;
    drawPoints();
    select(selected);
  });
}

async function start() {
  try {
    model = await fetchJson("page/model");
  } catch (error) {
    showStatus(error.message, true);
    return;
  }
  document.title = `${model.name} – scn-keras`;
  at("name").textContent = model.name;
  at("about").textContent = `${model.schema.names.length} landmarks, version ${model.version}`;
  at("calibration").textContent = model.calibration;
  if (model.signatures.includes("volumes")) {
    showStatus("This model takes volumes, which this page does not show. Ask it by the command:");
    at("command").textContent = `scn-keras predict ${location.origin}/v1/models/${model.name} FILE`;
    for (const id of ["ask", "legend"]) at(id).hidden = true;
    at("command").hidden = false;
    return;
  }
  if (model.signatures.includes("heatmaps")) {
    at("stages").hidden = false;
    for (const [value, text] of Object.entries(STAGES)) {
      const label = element("label");
      label.append(element("input", { type: "radio", name: "stage", value }), ` ${text}`);
      at("stages").append(label);
    }
  }
  listen();
}

start();
