/* Show only some datasets, and in the tables only some families. */

function filterable(name, legend, values, apply) {
  if (values.length < 2) return null;
  const given = chosen.getAll(name).filter((value) => values.includes(value));
  const shown = new Set(chosen.has(name) ? given : values);
  const boxes = values.map((value) => {
    const box = make("input", { type: "checkbox" });
    box.checked = shown.has(value);
    box.addEventListener("change", () => {
      if (box.checked) shown.add(value);
      else shown.delete(value);
      const kept = values.filter((other) => shown.has(other));
      choose(name, kept.length === values.length ? [] : kept.length ? kept : [""]);
      apply(shown);
    });
    return make("label", {}, box, " ", value);
  });
  apply(shown);
  return make("fieldset", { "data-filter": name }, make("legend", {}, legend), ...boxes);
}

function hide(elements, key, shown) {
  for (const element of elements) element.hidden = !shown.has(element.dataset[key]);
}

function filters(place) {
  const sections = [...document.querySelectorAll("[data-dataset]")];
  const rows = [...document.querySelectorAll("tr[data-family]")];
  const status = make("p", { class: "soft", role: "status" });
  const counts = {};
  const told = (what, shown, all) => {
    counts[what] = `${shown} of ${all} ${what}`;
    status.textContent = `Shown: ${Object.values(counts).join(", ")}. Figures and sentences always show all families.`;
  };
  const datasets = unique(sections.map((section) => section.dataset.dataset));
  const families = unique(rows.map((row) => row.dataset.family));
  const sets = [
    filterable("dataset", "Datasets", datasets, (shown) => {
      hide(sections, "dataset", shown);
      told("datasets", shown.size, datasets.length);
    }),
    filterable("family", "Families in the tables", families, (shown) => {
      hide(rows, "family", shown);
      told("families", shown.size, families.length);
    }),
  ].filter((set) => set !== null);
  if (sets.length) place.append(...sets, status);
  place.hidden = sets.length === 0;
}

filters(document.getElementById("filters"));
