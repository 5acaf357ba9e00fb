"use strict";
// The page of `scn-keras serve`: one image in, points and their uncertainty out.

const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const STAGES = {
  local_appearance: "local appearance",
  spatial_configuration: "spatial configuration",
  product: "product",
};

let model = null;
let asked = null; // the file that is shown
let found = null; // what the server said of it
let heatmaps = null; // likewise, once they were asked for
let picked = null; // the index of a landmark
let turn = 0; // of the latest question: older answers are dropped

function element(name, attributes = {}, text = "") {
  const svg = ["g", "circle", "ellipse", "line", "text", "title"].includes(name);
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", failed);
}

async function answer(path, options) {
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
  asked = file;
  const mine = ++turn;
  found = heatmaps = picked = null;
  at("again").disabled = false;
  at("result").hidden = true;
  say(`Looking for landmarks in ${file.name} …`);
  try {
    const result = await answer(`page/locate?${query()}`, {
      method: "POST",
      body: file,
      headers: { "X-File-Name": encodeURIComponent(file.name) }, // addresses are logged
    });
    if (mine !== turn) return;
    found = result;
    await showImage(file);
    if (mine !== turn) return;
    show();
    say(`Found ${found.landmarks.length} landmarks in ${file.name}.`);
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

async function showImage(file) {
  const image = at("image");
  URL.revokeObjectURL(image.src);
  image.src = found.image || URL.createObjectURL(file);
  image.alt = `${file.name}, ${found.size.join(" x ")} pixels`;
  await image.decode();
}

function show() {
  at("result").hidden = false;
  showVerdict();
  at("notes").replaceChildren(...found.notes.map((note) => element("li", {}, note)));
  const stem = asked.name.replace(/\.[^.]*$/, "");
  offer(at("markups"), found.markups, `${stem}.mrk.json`, "application/json");
  offer(at("csv"), found.csv, `${stem}.csv`, "text/csv");
  showTable();
  drawPoints();
  at("stages").elements[0].checked = true;
  at("heat").hidden = true;
  pick(null);
}

function showVerdict() {
  const verdict = at("verdict");
  const absent = found.landmarks.filter((one) => one.present === false).length;
  const parts = [];
  if (!model.vouches) parts.push("This model was not calibrated: it cannot tell how far off its points may be, nor whether it knows such images.");
  else if (found.trusted === false) parts.push("Do not trust this answer: the image is unlike those that the model learned from.");
  if (found.trusted === true) parts.push("The image is like those that the model learned from.");
  if (absent) parts.push(`${absent} of ${found.landmarks.length} landmarks are probably not in the image.`);
  if (!found.calibrated) parts.push("Without a spacing there are pixels, no millimetres.");
  verdict.textContent = parts.join(" ");
  verdict.hidden = !parts.length;
  const bad = model.vouches && found.trusted === false;
  verdict.className = `verdict ${bad ? "bad" : found.trusted ? "good" : ""}`;
}

function offer(link, text, name, type) {
  link.hidden = text === null;
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
}

function number(value, digits = 1) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function showTable() {
  const unit = found.calibrated ? "mm" : "px";
  const sure = found.landmarks.some((one) => one.radius90 !== null);
  const head = ["landmark", `x ${unit}`, `y ${unit}`, ...(sure ? [`± ${unit}`] : []), "score"];
  at("head").replaceChildren(...head.map((text) => element("th", { scope: "col" }, text)));
  const rows = found.landmarks.map((one, index) => {
    const row = element("tr", { "data-index": index });
    if (one.present === false) row.classList.add("absent");
    const name = one.name + (one.present === false ? " (absent?)" : "");
    row.append(element("th", { scope: "row" }, name));
    const place = one.mm || one.px;
    const cells = [...place.map((v) => number(v)), ...(sure ? [number(one.radius90)] : []), number(one.score, 2)];
    row.append(...cells.map((text) => element("td", {}, text)));
    row.addEventListener("mouseenter", () => pick(index));
    row.addEventListener("click", () => pick(index));
    return row;
  });
  at("rows").replaceChildren(...rows);
}

function drawPoints() {
  const [width, height] = found.size;
  const svg = at("points");
  // A pixel's centre is at whole numbers.
  svg.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  svg.replaceChildren();
  const dot = width / Math.max(at("stage").clientWidth, 1);
  for (const [a, b] of model.schema.links) {
    const [from, to] = [found.landmarks[a], found.landmarks[b]];
    if (from.present === false || to.present === false) continue;
    const [p, q] = [from.px, to.px];
    svg.append(element("line", { class: "link", x1: p[0], y1: p[1], x2: q[0], y2: q[1] }));
  }
  found.landmarks.forEach((one, index) => {
    const [cx, cy] = one.px;
    const text = describe(one);
    const group = element("g", { class: "point", tabindex: 0, role: "img", "aria-label": text, "data-index": index });
    if (one.present === false) group.classList.add("absent");
    if (one.radius90 !== null) {
      const [rx, ry] = found.spacing.map((s) => one.radius90 / (found.calibrated ? s : 1));
      group.append(element("ellipse", { class: "radius", cx, cy, rx, ry }));
    }
    group.append(element("circle", { class: "target", cx, cy, r: 9 * dot }));
    group.append(element("circle", { class: "dot", cx, cy, r: 3.5 * dot }));
    group.append(element("title", {}, text));
    for (const event of ["mouseenter", "focus", "click"]) group.addEventListener(event, () => pick(index));
    svg.append(group);
  });
}

function describe(one) {
  const place = one.mm ? `${one.mm.map((v) => number(v)).join(", ")} mm` : `${one.px.map((v) => number(v)).join(", ")} px`;
  const radius = one.radius90 === null ? "" : `, within ${number(one.radius90)} ${one.mm ? "mm" : "px"} nine times in ten`;
  return `${one.name}: ${place}${radius}, score ${number(one.score, 2)}${one.present === false ? ", probably not in the image" : ""}`;
}

function pick(index) {
  picked = index;
  for (const one of document.querySelectorAll("[data-index]"))
    one.classList.toggle("picked", Number(one.dataset.index) === index);
  at("picked").textContent = index === null ? "Point at a landmark, or tap it, for its name." : describe(found.landmarks[index]);
  for (const old of at("points").querySelectorAll(".tag")) old.remove();
  if (index !== null) {
    const [x, y] = found.landmarks[index].px;
    const [width, height] = found.size;
    const size = (14 * width) / Math.max(at("stage").clientWidth, 1);
    const right = x > 0.7 * width;
    const tag = { class: "tag", x: x + (right ? -0.8 : 0.8) * size, y: y < 0.1 * height ? y + 1.5 * size : y - 0.6 * size, "font-size": size };
    at("points").append(element("text", { ...tag, "text-anchor": right ? "end" : "start" }, found.landmarks[index].name));
  }
  drawHeat();
}

async function showStage(name) {
  if (!name) {
    at("heat").hidden = true;
    return;
  }
  if (!heatmaps) {
    const mine = turn;
    say("Asking for the heatmaps …");
    try {
      const result = await answer(`page/heatmaps?${query()}`, { method: "POST", body: asked });
      const stages = {};
      for (const [stage, url] of Object.entries(result.stages)) stages[stage] = await pixels(url);
      if (mine !== turn) return;
      heatmaps = { ...result, stages };
      say(`Orange is above zero, blue below, relative to the largest value${picked === null ? "; point at a landmark for its own map" : ""}.`);
    } catch (error) {
      if (mine === turn) say(error.message, true);
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

// Of all landmarks, the strongest at each pixel; of one, its own map.
function drawHeat() {
  const name = document.querySelector("[name=stage]:checked").value;
  const canvas = at("heat");
  canvas.hidden = !(name && heatmaps);
  if (canvas.hidden) return;
  const { rows, columns, grid_to_source: map } = heatmaps;
  const levels = heatmaps.stages[name];
  if (!levels) {
    canvas.hidden = true;
    say(`This network has no ${STAGES[name]}.`);
    return;
  }
  const size = rows * columns;
  const from = picked === null ? 0 : picked;
  const until = picked === null ? levels.length / size : picked + 1;
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  for (let i = 0; i < size; i++) {
    let level = 0;
    for (let k = from; k < until; k++) {
      const value = levels[k * size + i];
      if (picked === null ? value > level : true) level = value;
    }
    const color = level > 0 ? [230, 159, 0] : [86, 180, 233];
    picture.data.set([...color, Math.min(255, 2.2 * Math.abs(level))], 4 * i);
  }
  context.putImageData(picture, 0, 0);
  // From pixels of the grid to those of the image, to those of the page.
  const scale = at("stage").clientWidth / found.size[0];
  const [[a, c, e], [b, d, f]] = map;
  const left = e + 0.5 - 0.5 * (a + c);
  const top = f + 0.5 - 0.5 * (b + d);
  canvas.style.transform = `matrix(${[a, b, c, d, left, top].map((v) => v * scale).join(",")})`;
}

function listen() {
  at("file").addEventListener("change", () => at("file").files[0] && locate(at("file").files[0]));
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (asked) locate(asked);
  });
  const drop = at("drop");
  for (const name of ["dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) locate(event.dataTransfer.files[0]);
    });
  at("stages").addEventListener("change", (event) => showStage(event.target.value));
  at("stage").addEventListener("mouseleave", () => found && pick(null));
  window.addEventListener("resize", () => {
    if (!found) return;
    drawPoints();
    pick(picked);
  });
}

async function start() {
  try {
    model = await answer("page/model");
  } catch (error) {
    say(error.message, true);
    return;
  }
  document.title = `${model.name} – scn-keras`;
  at("name").textContent = model.name;
  at("about").textContent = `${model.schema.names.length} landmarks, version ${model.version}`;
  if (model.signatures.includes("volumes")) {
    say("This model takes volumes, which this page does not show. Ask it with `scn-keras predict` and this address.", true);
    at("ask").hidden = true;
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
