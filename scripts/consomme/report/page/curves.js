// Training curves: a picture a quantity, one run lit at a time.
const trainings = read("curves") ?? [];
const QUANTITIES = { loss: "training loss", rate: "learning rate", objective: "development sets (higher is better)" };
const WIDE = 360, HIGH = 220, LEFT = 52, BELOW = 24, ABOVE = 8;

function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const figure = value => value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
const runOf = t => [t.run || t.node, t.replicate && "replicate " + t.replicate].filter(Boolean).join(", ");

// about `count` round numbers between two ends
function ticks(low, high, count) {
  const rough = (high - low) / count || Math.abs(high) || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(n => n * power >= rough) * power, found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n++) found.push(n * step);
  return found;
}

// the picture of one quantity; `light` is called with a run's number, and with null when the pointer leaves it
function picture(group, key, light, choose) {
  const steps = group.flatMap(t => t[key]?.[0] ?? []), values = group.flatMap(t => t[key]?.[1] ?? []);
  const last = steps.reduce((a, b) => Math.max(a, b), 1);
  let low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  if (low === high) { low -= Math.abs(low) / 10 || 1; high += Math.abs(high) / 10 || 1; }
  const x = step => LEFT + step / last * (WIDE - LEFT - 8), y = value => HIGH - BELOW - (value - low) / (high - low) * (HIGH - BELOW - ABOVE);
  const place = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": QUANTITIES[key] });
  const text = (at, words) => place.append(drawn("text", { ...at, "font-size": 11, fill: "var(--soft)" }, words));
  for (const value of ticks(low, high, 4)) {
    place.append(drawn("line", { x1: LEFT, x2: WIDE - 8, y1: y(value), y2: y(value), stroke: "var(--line)" }));
    text({ x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, figure(value));
  }
  for (const step of ticks(0, last, 4)) text({ x: x(step), y: HIGH - 6, "text-anchor": "middle" }, String(step));
  group.forEach((training, number) => {
    if (!training[key]) return;
    const [at, found] = training[key];
    const d = at.map((step, i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(found[i]).toFixed(1)}`).join("");
    const line = { d: at.length > 1 ? d : d + "h3", fill: "none" };
    place.append(drawn("path", { ...line, class: "run", "data-run": number }));
    const target = drawn("path", { ...line, class: "target" });
    target.append(drawn("title", {}, runOf(training)));
    target.addEventListener("pointerenter", () => light(number));
    target.addEventListener("pointerleave", () => light(null));
    target.addEventListener("click", () => choose(number));
    place.append(target);
  });
  return element("figure", {}, place, element("figcaption", {}, QUANTITIES[key] + ", by step"));
}

function showTrainings() {
  const place = document.getElementById("curves"), said = document.getElementById("curves-said");
  const [nodes, runs] = ["curves-node", "curves-run"].map(id => document.getElementById(id));
  let group = [];
  const light = number => {
    const lit = number ?? (runs.value === "" ? null : Number(runs.value));
    place.classList.toggle("lit", lit !== null);
    place.querySelectorAll("path.run").forEach(line => line.classList.toggle("lit", Number(line.dataset.run) === lit));
    said.textContent = lit === null ? `${group.length} ${group.length === 1 ? "training" : "trainings"}.` : words(group[lit]);
  };
  const choose = number => { runs.value = String(number); light(null); };
  const show = () => {
    group = trainings.filter(t => t.node === nodes.value);
    runs.replaceChildren(element("option", { value: "" }, "all"), ...group.map((t, i) => element("option", { value: i }, runOf(t))));
    place.replaceChildren(...Object.keys(QUANTITIES).filter(key => group.some(t => t[key])).map(key => picture(group, key, light, choose)));
    light(null);
  };
  nodes.append(...[...new Set(trainings.map(t => t.node))].map(node => element("option", { value: node }, node)));
  nodes.addEventListener("change", show);
  runs.addEventListener("change", () => light(null));
  show();
}

function words(training) {
  const parts = Object.keys(QUANTITIES).filter(key => training[key]).map(key => {
    const [steps, values] = training[key], end = values.length - 1;
    if (key !== "objective") return `${QUANTITIES[key]} ${figure(values[end])} at step ${steps[end]}`;
    const best = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
    return `best on the development sets ${figure(values[best])} at step ${steps[best]}`;
  });
  return `${runOf(training)}: ${parts.join("; ")}.`;
}

if (trainings.length) showTrainings();
