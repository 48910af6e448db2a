// Vega's charts, each drawn when its section opens.
const charts = read("charts") ?? {};
const views = {};

function draw(again = false) {
  const style = getComputedStyle(document.documentElement), of = name => style.getPropertyValue(name).trim();
  const ink = of("--ink"), soft = of("--soft"), line = of("--line");
  const font = getComputedStyle(document.body).fontFamily;
  const config = { background: "transparent", font, text: { color: ink }, view: { stroke: null },
    axis: { labelColor: soft, titleColor: ink, titleFontWeight: "normal", gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 13, labelOverlap: true },
    legend: { labelColor: ink, orient: "top", labelFontSize: 12, symbolOpacity: 1 } };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  for (const [key, spec] of Object.entries(charts)) {
    const place = document.getElementById("chart-" + key);
    if (!place || place.closest("details:not([open])") || (views[key] && !again)) continue;
    views[key]?.finalize?.();
    views[key] = {};
    // ast: expressions are interpreted, because the page's policy forbids code made of text
    vegaEmbed(place, spec, { ast: true, actions: false, config, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" } }).then(view => { views[key] = view; });
  }
}

if (Object.keys(charts).length) {
  draw();
  document.querySelectorAll("details").forEach(part => part.addEventListener("toggle", () => draw()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
}
