"use strict";
// Text from models, judges and data sets reaches the page through textContent alone.
(() => {
  const PAGE = 10;
  const data = JSON.parse(document.getElementById("data").textContent);

  function make(tag, name, text) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined && text !== null) node.textContent = text;
    return node;
  }

  // Tables: a click on a head sorts by that column; empty cells stay last. Blocks are undone by sorting.
  function sortBy(table, column, head) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[column].dataset.sort;
    const rows = Array.from(table.tBodies[0].rows);
    rows.forEach((row) => row.classList.remove("rule"));
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const gap = Number(x) - Number(y);
      return (Number.isNaN(gap) ? x.localeCompare(y) : gap) * (up ? 1 : -1);
    });
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      head.tabIndex = 0;
      head.addEventListener("click", () => sortBy(table, column, head));
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sortBy(table, column, head); }
      });
    });
  }

  // Paper has no folds.
  window.addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details.more")) fold.open = true;
  });

  const form = document.getElementById("filters");
  if (!form || !data.items.length) return;
  const { benchmark, category, order, text } = form.elements;
  const list = document.getElementById("items");
  const more = document.getElementById("more");
  let found = [], shown = 0;

  function options(select, pairs) {
    const kept = select.value;
    select.replaceChildren(...pairs.map(([value, name]) => {
      const option = make("option", "", name);
      option.value = value;
      return option;
    }));
    if (pairs.some(([value]) => value === kept)) select.value = kept;
  }

  function categories() {
    const names = new Set(data.items.filter((i) => !benchmark.value || i.b === benchmark.value).map((i) => i.c));
    options(category, [["", "all"], ...Array.from(names, (n) => [n, n.replaceAll("_", " ")])]);
  }

  const chosen = () => Array.from(form.querySelectorAll("#cells input:checked"), (box) => box.value);

  // How far the chosen cells are apart on one item; an item that only one of them has is no disagreement.
  function values(item, cells) {
    return cells.map((c) => item.a[c] && item.a[c][2]).filter((v) => typeof v === "number");
  }
  const spread = (v) => (v.length > 1 ? Math.max(...v) - Math.min(...v) : -1);
  const failures = (item, cells) => cells.filter((c) => item.a[c] && item.a[c][3] !== "ok").length;

  function matches(item, cells, words) {
    if (benchmark.value && item.b !== benchmark.value) return false;
    if (category.value && item.c !== category.value) return false;
    if (!words.length) return true;
    const all = [item.q, item.i, ...cells.map((c) => item.a[c] && item.a[c][0])].join("\n").toLowerCase();
    return words.every((word) => all.includes(word));
  }

  function sorted(items, cells) {
    const by = {
      disagreement: (i) => -spread(values(i, cells)),
      low: (i) => { const v = values(i, cells); return v.length ? v.reduce((a, b) => a + b, 0) / v.length : Infinity; },
      failed: (i) => -failures(i, cells),
    }[order.value];
    if (!by) return items;
    return items.map((i) => [by(i), i]).sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)).map((pair) => pair[1]);
  }

  function answer(item, cell) {
    const box = make("div", "answer");
    const head = make("h4");
    head.append(make("span", "", data.cells[cell].title));
    box.append(head);
    const given = item.a[cell];
    if (!given) { box.append(make("div", "none", "not evaluated")); return box; }
    const [words, verdict, value, status] = given;
    head.append(make("span", status === "ok" ? "score" : "score failed", status === "ok" ? String(value) : status));
    box.append(words === null ? make("div", "none", "no answer") : make("div", "words", words));
    if (verdict) {
      const details = make("details");
      details.append(make("summary", "", "Verdict"), make("div", "words verdict-text", verdict));
      box.append(details);
    }
    return box;
  }

  function card(item, cells) {
    const box = make("article", "item");
    const head = make("header");
    head.append(make("span", "", data.benchmarks[item.b]), make("span", "", item.c.replaceAll("_", " ")),
      make("span", "", `${item.i}, turn ${item.t}`));
    box.append(head, make("div", "words asked", item.q === null ? "(question not recorded)" : item.q));
    if (item.r) box.append(make("div", "words reference", `Reference: ${item.r}`));
    const grid = make("div", "answers");
    grid.append(...cells.map((c) => answer(item, c)));
    box.append(grid);
    return box;
  }

  function showMore() {
    const cells = chosen();
    list.append(...found.slice(shown, shown + PAGE).map((item) => card(item, cells)));
    shown = Math.min(found.length, shown + PAGE);
    more.hidden = shown >= found.length;
    document.getElementById("found").textContent =
      found.length ? `${shown} of ${found.length.toLocaleString("en")} shown` : "Nothing matches.";
  }

  function update() {
    const cells = chosen();
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = sorted(data.items.filter((item) => matches(item, cells, words)), cells);
    shown = 0;
    list.replaceChildren();
    showMore();
  }

  options(benchmark, [["", "all"], ...Object.entries(data.benchmarks)]);
  categories();
  document.getElementById("cells").append(...data.cells.map((cell, k) => {
    const label = make("label"), box = make("input");
    box.type = "checkbox";
    box.value = String(k);
    box.checked = cell.shown;
    label.append(box, make("span", "", cell.title));
    return label;
  }));
  let wait = 0;
  benchmark.addEventListener("change", categories);
  form.addEventListener("change", update);
  text.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(update, 150); });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  update();
})();
