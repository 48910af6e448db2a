// Folded sections: links open what they lead to, and paper has everything.
const read = id => JSON.parse(document.getElementById("data-" + id)?.textContent ?? "null");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let place = target; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
  target.scrollIntoView();
}

addEventListener("hashchange", unfold);
// a second click on the same link changes no hash
document.querySelectorAll('a[href^="#"]').forEach(link => link.addEventListener("click", () => setTimeout(unfold)));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
unfold();
