// The page is whole without this: it sorts and filters tables, shows values under the pointer, and browses items.
(() => {
  "use strict";
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const count = (number) => number.toLocaleString("en");
  const short = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString().replace("-", "−"));

  // Values under the pointer: the title of an element, or the nearest point of a plot.
  const tip = make("div", { id: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const show = (words, x, y) => {
    tip.textContent = words;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 12) : y + 18}px`;
  };
  for (const node of document.querySelectorAll("main [title]")) {
    node.dataset.tip = node.title;
    node.removeAttribute("title");
  }
  addEventListener("pointermove", (event) => {
    const node = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    if (node) show(node.dataset.tip, event.clientX, event.clientY);
    else if (!(event.target instanceof Element && event.target.closest("svg[data-points]"))) tip.hidden = true;
  });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  for (const plot of document.querySelectorAll("svg[data-points]")) {
    const points = JSON.parse(plot.dataset.points);
    const { width, height } = plot.viewBox.baseVal;
    const mark = document.createElementNS(plot.namespaceURI, "circle");
    mark.setAttribute("class", "pointed");
    mark.setAttribute("r", "4");
    const leave = () => { mark.remove(); tip.hidden = true; };
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const distance = ([x, y]) =>
        Math.hypot(3 * (box.left + x * box.width - event.clientX), box.top + y * box.height - event.clientY);
      const nearest = points.reduce((best, each) => (distance(each) < distance(best) ? each : best));
      mark.setAttribute("cx", nearest[0] * width);
      mark.setAttribute("cy", nearest[1] * height);
      plot.append(mark);
      show(nearest[2], event.clientX, event.clientY);
    });
    plot.addEventListener("pointerleave", leave);
  }

  // Tables: a click on a heading sorts, and a long table has a filter.
  const value = (row, column) => {
    const text = (row.cells[column]?.textContent ?? "").trim();
    const number = /^[<\s]*[+−-]?[\d.,]+/.exec(text);
    return number ? Number(number[0].replace("−", "-").replace(/[<,\s+]/g, "")) : text.toLowerCase();
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  };
  for (const table of document.querySelectorAll("main table:not(.styles)")) {
    const [body] = table.tBodies;
    const heads = [...(table.tHead?.rows[0]?.cells ?? [])];
    if (!body || !heads.length || body.rows.length < 3) continue;
    for (const [column, head] of heads.entries()) {
      const sort = () => {
        const falling = head.getAttribute("aria-sort") === "descending";
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "ascending" : "descending");
        const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)));
        body.append(...(falling ? rows : rows.reverse()));
      };
      head.classList.add("sorts");
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    }
    if (body.rows.length > 12) {
      const filter = make("input", { type: "search", placeholder: "filter rows", className: "filter" });
      filter.setAttribute("aria-label", "Filter rows");
      filter.addEventListener("input", () => {
        const words = filter.value.toLowerCase();
        for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(words);
      });
      table.parentElement.before(filter);
    }
  }

  // Items: one page at a time, every text as text.
  const SHOWN = 25;
  const orders = {
    "smallest margin": (a, b) => compare(a.margin ?? Infinity, b.margin ?? Infinity),
    "largest margin": (a, b) => compare(b.margin ?? -Infinity, a.margin ?? -Infinity),
    "order of the data": (a, b) => a.place - b.place,
    "longest response": (a, b) => b.longest - a.longest,
  };
  const tagged = (name, about, text, colour = "") =>
    make("div", { className: "side" },
      make("div", { className: "tag" }, make("b", { className: colour, textContent: name }),
        ...about.filter(Boolean).map((words) => make("span", { textContent: words }))),
      make("div", { className: "text", textContent: text ?? "" }));
  const opened = (item) => [
    tagged("Prompt", [item.id, item.source, item.reason], item.prompt),
    make("div", { className: "sides" }, ...item.responses.map(([reward, label, length, text], place) =>
      tagged(label || `Response ${place + 1}`, [`reward ${short(reward)}`, length === null ? "" : `${count(length)} characters`],
        text, { chosen: "chosen", correct: "chosen", rejected: "rejected", wrong: "rejected" }[label]))),
  ];
  const fold = (item) => {
    const line = item.prompt ?? item.id;
    const node = make("details", { className: "pair" }, make("summary", {},
      make("span", { className: `change ${item.status}`, textContent: item.status }),
      make("span", { className: "line", textContent: line.slice(0, 160) }),
      make("span", { className: "meta", textContent: item.margin === null ? item.source : `margin ${short(item.margin)}` })));
    node.addEventListener("toggle", () => { if (node.childElementCount === 1) node.append(...opened(item)); });
    return node;
  };
  const choice = (label, options, changed) => {
    const node = make("select", {}, ...options.map((name) => make("option", { textContent: name, value: name })));
    node.addEventListener("change", changed);
    return [make("label", {}, `${label} `, node), node];
  };
  for (const holder of document.querySelectorAll("script.items")) {
    const names = ["id", "source", "status", "margin", "reason", "prompt", "responses"];
    const items = JSON.parse(holder.textContent).map((row, place) => {
      const item = Object.fromEntries(names.map((name, column) => [name, row[column]]));
      item.longest = Math.max(0, ...item.responses.map((each) => each[2] ?? 0));
      item.words = [item.id, item.prompt, ...item.responses.map((each) => each[3])].join("\n").toLowerCase();
      return Object.assign(item, { place });
    });
    const list = make("div", { className: "list" });
    const where = make("span", { className: "note" });
    let found = items;
    let from = 0;
    const draw = () => {
      list.replaceChildren(...found.slice(from, from + SHOWN).map(fold));
      const last = Math.min(from + SHOWN, found.length);
      where.textContent = found.length ? `${count(from + 1)}–${count(last)} of ${count(found.length)}` : "no such item";
      back.disabled = from === 0;
      next.disabled = last >= found.length;
    };
    const choose = () => {
      const words = search.value.toLowerCase();
      found = items.filter((item) => (!words || item.words.includes(words))
        && (status.selectedIndex === 0 || item.status === status.value)
        && (source.selectedIndex === 0 || item.source === source.value)).sort(orders[order.value]);
      from = 0;
      draw();
    };
    const turn = (pages) => { from += pages * SHOWN; draw(); };
    const search = make("input", { type: "search", placeholder: "search the texts" });
    search.setAttribute("aria-label", "Search the texts");
    search.addEventListener("input", choose);
    const distinct = (name) => [...new Set(items.map((item) => item[name]))].sort();
    const [statusLabel, status] = choice("Show", ["all", ...distinct("status")], choose);
    const [sourceLabel, source] = choice("Source", ["all", ...distinct("source")], choose);
    const [orderLabel, order] = choice("First", Object.keys(orders), choose);
    const back = make("button", { type: "button", textContent: "back", onclick: () => turn(-1) });
    const next = make("button", { type: "button", textContent: "next", onclick: () => turn(1) });
    sourceLabel.hidden = source.options.length < 3;
    const controls = make("div", { className: "controls" }, search, statusLabel, sourceLabel, orderLabel, back, next, where);
    holder.after(make("div", { className: "browser" }, controls, list));
    choose();
  }
})();
