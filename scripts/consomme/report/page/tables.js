// Tables: a click on a column sorts by it, a field keeps the rows that hold a text, a button saves what is shown as CSV.
const LONG = 6; // rows from which a field to filter by is worth its place

function mainText(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll("small").forEach(small => small.remove());
  return copy.textContent.trim();
}
const smallText = cell => cell.querySelector("small")?.textContent.trim() ?? "";

// the number that a cell begins with; k, M and G count
function numberOf(text) {
  const [, digits, factor] = text.replaceAll("−", "-").replaceAll(",", "").match(/^[^\d+-]{0,2}([+-]?\d*\.?\d+(?:e[+-]?\d+)?)\s*([kMG](?![A-Za-z]))?/) ?? [];
  return digits === undefined ? NaN : Number(digits) * ({ k: 1e3, M: 1e6, G: 1e9 }[factor] ?? 1);
}

function sortBy(table, column, falling) {
  const [head, ...rows] = table.rows, numeric = head.cells[column].classList.contains("n");
  const key = row => row.cells[column] ? mainText(row.cells[column]) : "";
  const order = numeric
    ? (a, b) => (falling ? -1 : 1) * (numberOf(a) - numberOf(b))
    : (a, b) => (falling ? -1 : 1) * a.localeCompare(b, undefined, { numeric: true });
  const empty = row => key(row) === "" || (numeric && isNaN(numberOf(key(row))));
  // rows without a value stay last whichever way the others go
  rows.sort((a, b) => empty(a) - empty(b) || (empty(a) ? 0 : order(key(a), key(b))));
  table.tBodies[0].append(...rows);
  for (const cell of head.cells) cell.removeAttribute("aria-sort");
  head.cells[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
}

function csv(table) {
  const rows = [...table.rows].filter(row => !row.hidden);
  const small = [...table.rows[0].cells].map((_, column) => rows.some(row => row.cells[column] && smallText(row.cells[column])));
  const cells = row => [...row.cells].flatMap((cell, column) => [mainText(cell), ...(small[column] ? [smallText(cell) || (cell.tagName === "TH" ? mainText(cell) + " (2)" : "")] : [])]);
  const plain = text => text.replaceAll("−", "-").replaceAll("\u00a0", " ");
  // an apostrophe before what a spreadsheet would take for a formula, as in the tables beside the page
  const inert = text => /^'*[=+\-@＝＋－＠]/.test(text) && !/^'*[-+][\d\s.,;:%()[\]/±–+-]*$/.test(text) ? "'" + text : text;
  const quoted = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return rows.map(row => cells(row).map(text => quoted(inert(plain(text)))).join(",") + "\n").join("");
}

function save(name, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

document.querySelectorAll(".scroll > table").forEach((table, number) => {
  const head = table.rows[0];
  if (!head || [...head.cells].some(cell => cell.tagName !== "TH")) return;
  [...head.cells].forEach((cell, column) => {
    const button = element("button", { class: "sort", title: "sort" });
    button.append(...cell.childNodes);
    button.addEventListener("click", () => sortBy(table, column, cell.getAttribute("aria-sort") === "ascending"));
    cell.append(button);
  });
  const tools = element("p", { class: "tools" });
  if (table.rows.length > LONG) {
    const field = element("input", { type: "search", placeholder: "filter", "aria-label": "keep the rows that hold" });
    field.addEventListener("input", () => {
      for (const row of [...table.rows].slice(1)) row.hidden = !row.textContent.toLowerCase().includes(field.value.toLowerCase());
    });
    tools.append(field);
  }
  const button = element("button", {}, "CSV");
  button.addEventListener("click", () => save(`${document.title.split(" ")[0]}-${table.closest("details.part")?.id ?? "table"}-${number + 1}.csv`, csv(table)));
  tools.append(button);
  table.parentElement.before(tools);
});
