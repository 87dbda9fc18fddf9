/* Sort tables by a click on a head: largest first for figures, then smallest first, then as they were.
   What was not measured stays last. */

function figureOf(cell) {
  return cell && cell.dataset.v !== undefined ? Number(cell.dataset.v) : null;
}

function cellOf(row, column) {
  return row.cells.length > column && row.cells[column].colSpan === 1 ? row.cells[column] : null;
}

function compareTexts(a, b) {
  return a.localeCompare(b, "en", { numeric: true, sensitivity: "base" });
}

function ordered(rows, column, direction) {
  const numeric = rows.some((row) => figureOf(cellOf(row, column)) !== null);
  const keys = new Map(rows.map((row) => {
    const cell = cellOf(row, column);
    return [row, numeric ? figureOf(cell) : cell && cell.textContent.trim()];
  }));
  const sign = direction === "ascending" ? 1 : -1;
  return [...rows].sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (numeric ? x - y : compareTexts(x, y));
  });
}

const NEXT = {
  figures: { none: "descending", descending: "ascending", ascending: "none" },
  texts: { none: "ascending", ascending: "descending", descending: "none" },
};

function sortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const rows = original.filter((row) => !row.classList.contains("group"));
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const kind = rows.some((row) => figureOf(cellOf(row, column)) !== null) ? "figures" : "texts";
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = NEXT[kind][head.getAttribute("aria-sort")];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", direction);
      table.classList.toggle("sorted", direction !== "none");
      body.append(...(direction === "none" ? original : ordered(rows, column, direction)));
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
