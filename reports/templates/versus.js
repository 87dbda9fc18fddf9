/* Read the data islands: who has which value and which first hit for each query. */

const ABSENT = 65535;
const STEPS = 65534;

function numbers(base64, width) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const found = [];
  for (let at = 0; at < bytes.length; at += width) {
    found.push(width === 2 ? view.getUint16(at, true) : view.getUint32(at, true));
  }
  return found;
}

function ledger(island) {
  const data = JSON.parse(document.getElementById(island).textContent);
  const systems = data.systems.map((system) => ({
    name: system.name,
    values: numbers(system.values, 2),
    hits: numbers(system.hits, 4),
  }));
  return { ...data, systems };
}

function passage(data, row) {
  return { docid: data.docids[row], title: data.titles[row] || "", text: data.texts[row] || "" };
}

/* The pairs of values both systems have; a query is won by the larger value. */
function rounds(data, one, other) {
  const found = [];
  one.values.forEach((a, query) => {
    const b = other.values[query];
    if (a !== ABSENT && b !== ABSENT) {
      found.push({ query, a: (a * data.scale) / STEPS, b: (b * data.scale) / STEPS, gap: a - b });
    }
  });
  return found;
}

function tally(found, scale) {
  const wins = found.filter((round) => round.gap > 0).length;
  const losses = found.filter((round) => round.gap < 0).length;
  const sum = found.reduce((total, round) => total + round.gap, 0);
  const mean = found.length ? ((sum / found.length) * scale) / STEPS : 0;
  return { wins, losses, ties: found.length - wins - losses, mean };
}

const ORDERS = {
  "largest difference": (x, y) => Math.abs(y.gap) - Math.abs(x.gap) || x.query - y.query,
  "first ahead": (x, y) => y.gap - x.gap || x.query - y.query,
  "second ahead": (x, y) => x.gap - y.gap || x.query - y.query,
  "as in the dataset": (x, y) => x.query - y.query,
};

const OUTCOMES = {
  "all queries": () => true,
  "first wins": (round) => round.gap > 0,
  "ties": (round) => round.gap === 0,
  "second wins": (round) => round.gap < 0,
};

function signed(value) {
  const text = Math.abs(value).toFixed(3);
  if (text === "0.000") return "±" + text;
  return (value < 0 ? "−" : "+") + text;
}
