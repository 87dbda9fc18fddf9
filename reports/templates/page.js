/* The page reads well without this script; with it tables sort, datasets and families filter, and systems compare
   query by query. Whatever came out of a run is placed as text, never as markup. */

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function unique(values) {
  return [...new Set(values)];
}

/* What is chosen stands behind the "#" of the address, so that a copied address shows the same view.
   A plain anchor, such as #limits, stands there too: once something is chosen, as at=limits. */
const chosen = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function choose(name, values) {
  chosen.delete(name);
  for (const value of values) chosen.append(name, value);
  history.replaceState(null, "", "#" + chosen.toString());
}

function jumped() {
  const hash = location.hash.slice(1);
  if (hash.includes("=")) {
    if (hash !== chosen.toString()) location.reload();
  } else if (hash && chosen.size) {
    choose("at", [decodeURIComponent(hash)]);
  }
}

window.addEventListener("hashchange", jumped);
window.addEventListener("load", () => {
  const place = chosen.has("at") && document.getElementById(chosen.get("at"));
  if (place) place.scrollIntoView();
});
