/* Show two systems query by query, a page at a time. */

const PAGE = 20;

function select(label, options, value, changed) {
  const list = make("select", {}, ...options.map((option) => make("option", { value: option }, option)));
  list.value = value;
  list.addEventListener("change", () => changed(list.value));
  return { list, field: make("label", { class: "field" }, make("span", {}, label), list) };
}

function passageLines(found) {
  const title = make("span", { class: "title" }, found.title || found.docid);
  const docid = found.title ? make("span", { class: "soft docid" }, found.docid) : null;
  const text = found.text ? make("span", { class: "text" }, found.text) : null;
  return make("div", { class: "passage" }, title, docid, text);
}

function answer(data, system, value, query) {
  const code = system.hits[query];
  const relevant = code % 2 === 1;
  const score = ` ${data.measure} ${value.toFixed(3)} `;
  const head = make("p", { class: "who" }, make("strong", {}, system.name), score);
  if (relevant) head.append(make("span", { class: "right" }, "✓ relevant"));
  const found = code ? passageLines(passage(data, (code >> 1) - 1)) : make("p", { class: "soft" }, "nothing found");
  return make("div", { class: "answer" }, head, found);
}

function item(data, one, other, round) {
  const { query, a, b, gap } = round;
  const verdict = gap ? `${(gap > 0 ? one : other).name} ahead by ${Math.abs(a - b).toFixed(3)}` : "equal";
  const head = make("p", { class: "query" }, make("strong", {}, data.queries[query] || data.qids[query]), " ");
  head.append(make("span", { class: `verdict ${gap > 0 ? "first" : gap < 0 ? "second" : "equal"}` }, verdict));
  const gold = data.gold[query].map((row) => passageLines(passage(data, row)));
  const more = data.golds[query] ? ` (${gold.length} of ${data.golds[query]})` : "";
  const relevant = gold.length ? make("div", { class: "gold" }, make("p", { class: "who" }, `Relevant${more}`), ...gold) : null;
  const answers = [answer(data, one, a, query), answer(data, other, b, query)];
  return make("li", {}, head, make("div", { class: "three" }, relevant, ...answers));
}

function bar(one, other, counts) {
  const parts = [["first", counts.wins, one.name], ["equal", counts.ties, "equal"], ["second", counts.losses, other.name]];
  const spans = parts.filter(([, count]) => count > 0).map(([kind, count]) => {
    const part = make("span", { class: kind });
    part.style.flexGrow = String(count);
    return part;
  });
  return make("div", { class: "bar", "aria-hidden": "true" }, ...spans);
}

function pager(turn) {
  const back = make("button", { type: "button" }, "Previous");
  const on = make("button", { type: "button" }, "Next");
  const where = make("span", { class: "where" });
  back.addEventListener("click", () => turn(-1));
  on.addEventListener("click", () => turn(1));
  const element = make("nav", { class: "pager", "aria-label": "Pages of queries" }, back, where, on);
  const show = (page, pages) => {
    where.textContent = `Page ${page + 1} of ${pages}`;
    back.disabled = page === 0;
    on.disabled = page >= pages - 1;
  };
  return { element, show };
}

function versus(place) {
  const key = place.dataset.key;
  const data = ledger(place.dataset.island);
  const names = data.systems.map((system) => system.name);
  const get = (name, fallback, known) => {
    const value = chosen.get(`${key}.${name}`);
    return value !== null && (!known || known.includes(value)) ? value : fallback;
  };
  const state = {
    a: get("a", data.first[0], names), b: get("b", data.first[1], names),
    order: get("order", "largest difference", Object.keys(ORDERS)),
    only: get("only", "all queries", Object.keys(OUTCOMES)), search: get("search", ""),
  };
  let page = 0;
  const counts = make("p", { class: "counts", role: "status" });
  const shares = make("div");
  const list = make("ol", { class: "duels" });
  const turned = pager((step) => {
    page += step;
    draw();
    list.scrollIntoView({ block: "nearest" });
  });
  const set = (name, value) => {
    state[name] = value;
    choose(`${key}.${name}`, value ? [value] : []);
    page = 0;
    draw();
  };

  function draw() {
    const [one, other] = [state.a, state.b].map((name) => data.systems[names.indexOf(name)]);
    const every = rounds(data, one, other);
    const total = tally(every, data.scale);
    counts.textContent = `${one.name} wins ${total.wins}, ties ${total.ties}, loses ${total.losses} of `
      + `${every.length} queries against ${other.name}; mean difference in ${data.measure} ${signed(total.mean)}.`;
    shares.replaceChildren(bar(one, other, total));
    const wanted = state.search.trim().toLowerCase();
    const shown = every.filter((round) => OUTCOMES[state.only](round)
      && (!wanted || data.queries[round.query].toLowerCase().includes(wanted)));
    shown.sort(ORDERS[state.order]);
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(page, pages - 1);
    const first = page * PAGE;
    list.setAttribute("start", String(first + 1));
    list.replaceChildren(...shown.slice(first, first + PAGE).map((round) => item(data, one, other, round)));
    matches.textContent = `${shown.length} of ${every.length} queries listed.`;
    turned.show(page, pages);
  }

  const a = select("First system", names, state.a, (value) => set("a", value));
  const b = select("Second system", names, state.b, (value) => set("b", value));
  const swap = make("button", { type: "button" }, "Swap");
  swap.addEventListener("click", () => {
    [a.list.value, b.list.value] = [state.b, state.a];
    const { b: second } = state;
    set("b", state.a);
    set("a", second);
  });
  const order = select("Order", Object.keys(ORDERS), state.order, (value) => set("order", value));
  const only = select("Show", Object.keys(OUTCOMES), state.only, (value) => set("only", value));
  const search = make("input", { type: "search" });
  search.value = state.search;
  search.addEventListener("input", () => set("search", search.value));
  const box = make("label", { class: "field" }, make("span", {}, "Search the queries"), search);
  const matches = make("p", { class: "soft", role: "status" });
  const controls = make("div", { class: "controls" }, a.field, b.field, swap, order.field, only.field, box);
  place.append(controls, counts, shares, matches, list, turned.element);
  draw();
}

document.querySelectorAll("[data-island]").forEach(versus);
