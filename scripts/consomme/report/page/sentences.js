// The sentences that changed most between two models, with errors marked and recordings to play.
const spoken = read("sentences") ?? {};
const SHOWN = 10; // of each kind
const MARKS = { S: "mark", I: "ins", D: "del" };

// what was said, with its errors; a missing word is written as in the reference
function marked(row, [said, steps]) {
  const cut = text => row.apart ? [...text] : text.split(" ").filter(Boolean), space = row.apart ? "" : " ";
  const wanted = cut(row.reference), heard = cut(said), place = element("dd", { dir: "auto" });
  let i = 0, j = 0;
  for (const step of steps) {
    const theirs = "=SDd".includes(step) ? wanted[i++] : "", ours = "=SIi".includes(step) ? heard[j++] : "";
    if (step === "d") continue;
    if (place.childNodes.length) place.append(space);
    const word = step === "D" ? theirs : ours;
    if (!MARKS[step]) { place.append(word); continue; }
    place.append(element(MARKS[step], { title: { S: `for: ${theirs}`, I: "not in the reference", D: "missing" }[step] }, word));
  }
  if (!heard.length) place.append(element("i", { class: "soft" }, " (nothing)"));
  return place;
}

function sentence(row, models) {
  const score = text => `${spoken.metric} ${text[2].toFixed(1)}`;
  const list = element("dl");
  const line = (name, ...content) => list.append(element("dt", {}, name), ...content);
  if (row.source) line("source", element("dd", { dir: "auto" }, row.source));
  line("reference", element("dd", { dir: "auto" }, row.reference));
  for (const model of models) line(spoken.models[model], marked(row, row.texts[row.said[model]]));
  const [before, after] = models.map(model => row.texts[row.said[model]]);
  const place = element("div", { class: "sentence" }, element("span", { class: "soft" }, `${row.id} · ${score(before)} → ${score(after).split(" ").pop()}`), list);
  if (row.clip) place.append(element("audio", { controls: "", preload: "none", src: row.clip }));
  return place;
}

// the rows of a set, those that got worse and those that got better from one model to the other, the most first
function changed(group, [first, last]) {
  const rows = group.rows.filter(row => row.said[first] >= 0 && row.said[last] >= 0)
    .map(row => [spoken.sign * row.weight * (row.texts[row.said[last]][2] - row.texts[row.said[first]][2]), row]);
  const worse = rows.filter(([gain]) => gain < 0).sort((a, b) => a[0] - b[0]);
  const better = rows.filter(([gain]) => gain > 0).sort((a, b) => b[0] - a[0]);
  return [["got worse", worse], ["got better", better]];
}

function showSentences() {
  const [from, to, set] = ["sentences-from", "sentences-to", "sentences-set"].map(id => document.getElementById(id));
  const place = document.getElementById("sentences-list");
  const show = () => {
    const models = [from, to].map(chosen => Number(chosen.value)), group = spoken.sets[set.value];
    const parts = changed(group, models).flatMap(([title, rows]) => rows.length
      ? [element("h3", {}, `${title}: ${rows.length}${rows.length > SHOWN ? `, the ${SHOWN} most` : ""}`), ...rows.slice(0, SHOWN).map(([, row]) => sentence(row, models))]
      : []);
    const note = group.rows.length < group.n ? `${group.rows.length} of ${group.n} rows, those on which models differ most.` : "";
    place.replaceChildren(...(parts.length ? parts : [element("p", {}, "Both said the same, or equally well.")]), element("p", { class: "note" }, note));
  };
  for (const chosen of [from, to]) chosen.append(...spoken.scored.map(model => element("option", { value: model }, spoken.models[model])));
  set.append(...spoken.sets.map((group, i) => element("option", { value: i }, group.name)));
  [from.value, to.value] = [spoken.first, spoken.last];
  for (const chosen of [from, to, set]) chosen.addEventListener("change", show);
  show();
}

if (spoken.sets) showSentences();
