
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const { summary, images, rules } = report;
  const byId = (id) => document.getElementById(id);

  // What would turn text around, or be nothing to see, is shown by its number.
  const visible = (text) => text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu,
    (sign) => `⟨U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

  // All that a report says becomes text here: `append` makes text nodes of strings.
  const el = (tag, attributes = {}, ...children) => {
    const node = tag.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    const known = children.filter((child) => child !== null && child !== undefined);
    node.append(...known.map((child) => (typeof child === "string" ? visible(child) : child)));
    return node;
  };

  const numbers = new Intl.NumberFormat();
  const count = (number, noun) => `${numbers.format(number)} ${noun}${number === 1 ? "" : "s"}`;
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const bytes = (number) => {
    if (number === null || number === undefined) return "";
    let unit = 0;
    for (; number >= 1023.95 && unit < UNITS.length - 1; unit++) number /= 1024;
    return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${UNITS[unit]}`;
  };
  const duration = (seconds) => {
    if (seconds < 10) return `${Math.round(seconds * 100) / 100} s`;
    if (seconds < 60) return `${Math.round(seconds)} s`;
    const all = Math.round(seconds);
    const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
    if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
    if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
    return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  };
  const moment = (text) => new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const short = (digest) => (digest ? digest.replace(/^(sha\d+:.{12}).*$/, "$1") : "");

  const RESULTS = ["failed", "cancelled", "planned", "copied", "up-to-date", "skipped"];
  const WORDS = { copied: "copied", planned: "to copy", "up-to-date": "up to date", skipped: "skipped", failed: "failed", cancelled: "cancelled" };
  const ORDER = ["copied", "planned", "up-to-date", "skipped", "cancelled", "failed"];
  const counts = Object.fromEntries(RESULTS.map((result) => [result, 0]));
  for (const image of images) counts[image.result] += 1;
  // Of a dry run.
  const isPlan = counts.planned > 0;
  const MOVED = isPlan ? "To move" : "Moved";

  /* What became of it all. */
  const verdict = () => {
    const left = [];
    const of = ` of ${count(summary.images, "image")}`;
    if (isPlan) left.push(`${numbers.format(counts.planned)}${of} would be copied`);
    if (counts.failed) left.push(`${numbers.format(counts.failed)}${left.length ? "" : of} failed`);
    if (counts.cancelled) left.push(`${numbers.format(counts.cancelled)}${left.length ? "" : of} ${counts.cancelled === 1 ? "was" : "were"} not finished`);
    if (rules.length) left.push(`${count(rules.length, "rule")} could not be carried out`);
    const shards = (report.shards || []).join(", ");
    const there = summary.images - counts.skipped;
    const done = [];
    if (there) {
      const which = counts.skipped ? numbers.format(there) + of : there === 1 ? "The image" : `All ${count(there, "image")}`;
      done.push(`${which} ${there === 1 ? "is where it" : "are where they"} should be`);
    }
    // What was not wanted is nowhere.
    if (counts.skipped) done.push(`${numbers.format(counts.skipped)}${there ? "" : of} ${counts.skipped === 1 ? "was" : "were"} skipped`);
    const line = left.length ? left.join(", ")
      : shards ? `All that shard ${shards} has to do is done, ${count(summary.images, "image")}; the other shards are not in this report`
      : done.length ? done.join(", ")
      : "There was nothing to do";
    byId("verdict").textContent = line;
    document.title = `${line} · migration report`;
    const parts = shards ? ` · shard ${shards}` : "";
    byId("when").textContent = `${moment(report.started)} · ${duration(report.seconds)}${parts}`;
    byId("footer").textContent = `image-migrator ${report.version} · ${report.schema} · started ${report.started}`;
  };

  const totals = () => {
    const share = byId("share");
    for (const result of ORDER) {
      if (!counts[result]) continue;
      const part = el("i", { class: result, title: `${numbers.format(counts[result])} ${WORDS[result]}` });
      part.style.flexGrow = counts[result];
      share.append(part);
    }
    share.setAttribute("aria-label", RESULTS.map((result) => `${counts[result]} ${WORDS[result]}`).join(", "));
    share.hidden = !images.length;
    const rate = report.seconds > 0 && !isPlan ? summary.bytesMoved / report.seconds : 0;
    const entry = (name, value, more, dot) =>
      el("div", {}, el("dt", {}, dot ? el("i", { class: dot }) : null, name), el("dd", {}, value, more ? el("small", {}, more) : null));
    const list = ORDER.filter((result) => counts[result] || !["skipped", "cancelled", isPlan ? "copied" : "planned"].includes(result))
      .map((result) => [WORDS[result][0].toUpperCase() + WORDS[result].slice(1), numbers.format(counts[result]), null, result]);
    if (rules.length) list.push(["Rules not done", numbers.format(rules.length)]);
    list.push([MOVED, bytes(summary.bytesMoved), `${count(summary.blobsMoved, "blob")}${rate ? `, ${bytes(rate)}/s` : ""}`]);
    // How many bytes, and what is there, is not known of a dry run.
    if (isPlan) list.push(["To link in the registry", count(summary.blobsMounted, "blob")]);
    else {
      if (summary.blobsMounted) list.push(["Linked by the registry", bytes(summary.bytesMounted), count(summary.blobsMounted, "blob")]);
      list.push(["Already there", count(summary.blobsPresent, "blob")]);
    }
    if (summary.layersSkipped) list.push(["Left out", count(summary.layersSkipped, "layer"), "fetched from their own urls"]);
    const entries = list.map((line) => entry(...line));
    entries[list.findIndex(([name]) => name === MOVED)].className = "row";
    byId("totals").append(...entries);
  };

  /* Failures whose reasons differ only in the names of things are one group. */
  const GROUP = 50;
  const pattern = (image) => {
    let text = image.reason || "no reason was given";
    const names = [image.source, image.destination].flatMap((name) => {
      const [repository, tag] = name.split(/[:@](?=[^/]*$)/);
      return [name, repository, repository.slice(repository.indexOf("/") + 1), tag];
    });
    for (const name of names.sort((a, b) => (b || "").length - (a || "").length)) {
      if (name && name.length > 2) text = text.split(name).join("…");
    }
    return text.replace(/\b[0-9a-f]{12,}\b/g, "…").replace(/\d+(\.\d+)?/g, "…").replace(/…([:@/]?…)+/g, "…");
  };

  const failures = () => {
    const groups = new Map();
    const put = (category, key, title, item) => {
      const name = `${category}\n${key}`;
      if (!groups.has(name)) groups.set(name, { category, title, items: [] });
      groups.get(name).items.push(item);
    };
    for (const rule of rules) {
      const title = rule.invalid ? "Rules that cannot be used" : "Rules whose images could not all be generated";
      put(rule.category, title, title, [`${rule.place}: ${JSON.stringify(rule.source)} → ${JSON.stringify(rule.destination)}`, rule.reason]);
    }
    for (const image of images) {
      if (image.result !== "failed" && image.result !== "cancelled") continue;
      put(image.category || image.result, pattern(image), image.reason || "", [`${image.source} → ${image.destination}`, image.reason]);
    }
    byId("failures").hidden = !groups.size;
    const ordered = [...groups.values()].sort((a, b) => b.items.length - a.items.length);
    byId("groups").append(...ordered.map(({ category, title, items }) => {
      const list = el("ul");
      const same = items.every((item) => item[1] === title);
      const show = (until) => {
        for (const [name, reason] of items.slice(list.children.length, until)) {
          list.append(el("li", {}, el("span", { class: "name" }, name), same || !reason ? null : el("p", {}, reason)));
        }
        rest.hidden = list.children.length >= items.length;
        rest.textContent = `Show the other ${numbers.format(items.length - list.children.length)}`;
      };
      const rest = el("button", { type: "button", class: "all" });
      rest.hidden = true;
      rest.addEventListener("click", () => show(items.length));
      const head = el("summary", {}, el("b", {}, numbers.format(items.length)), el("span", { class: "quiet" }, category), el("span", { class: "name" }, title));
      const group = el("details", { class: "group" }, head, list, rest);
      group.addEventListener("toggle", () => group.open && !list.children.length && show(GROUP));
      group.addEventListener("print", () => show(items.length));
      return group;
    }));
  };

  /* Charts, drawn for the width that there is. */
  const traffic = report.traffic || { width: 1, bytes: [], workers: [], flights: [] };
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 2592000, 31536000];
  const total = Math.max(report.seconds, 0.001, (Math.max(traffic.bytes.length, ...traffic.workers.map((worker) => worker.busy.length)) - 1) * traffic.width);
  const lanes = traffic.workers;
  const longest = Math.max(0, ...lanes.map((worker) => worker.name.length));
  const GUTTER = 62;

  const frame = (host, height, label) => {
    const width = Math.max(240, host.clientWidth);
    const svg = el("svg:svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    const left = Math.max(GUTTER, 10 + longest * 6.5);
    const right = width - 40;
    const x = (seconds) => left + (Math.min(seconds, total) / total) * (right - left);
    return { svg, width, left, right, x, seconds: (place) => ((place - left) / (right - left)) * total };
  };
  const ticks = ({ svg, left, right, x }, top, bottom) => {
    const step = STEPS.find((step) => ((right - left) * step) / total >= 76) || STEPS[STEPS.length - 1];
    for (let number = 0; number * step <= total * 1.0001 && number < 60; number++) {
      const place = x(number * step);
      svg.append(el("svg:line", { class: "grid", x1: place, x2: place, y1: top, y2: bottom + 4 }));
      svg.append(el("svg:text", { x: place, y: bottom + 17, "text-anchor": "middle" }, number ? duration(number * step) : "0"));
    }
  };

  const drawRate = () => {
    const host = byId("rate");
    const rates = traffic.bytes.map((amount, index) => amount / Math.min(traffic.width, Math.max(total - index * traffic.width, traffic.width / 4)));
    const peak = rates.reduce((a, b) => Math.max(a, b), 0);
    byId("pace").textContent = peak
      ? `${bytes(peak)}/s at most, ${bytes(summary.bytesMoved / total)}/s over the whole time. A blob counts evenly over the time it took.`
      : "No blob was moved.";
    if (!peak) return host.replaceChildren();
    const [top, bottom] = [6, 150];
    const shape = frame(host, bottom + 24, `Bytes per second over ${duration(total)}, at most ${bytes(peak)} per second`);
    const { svg, left, right, x } = shape;
    const scale = 1024 ** Math.min(UNITS.length - 1, Math.floor(Math.log(peak) / Math.log(1024)));
    const rough = peak / scale / 3;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) * scale;
    const high = Math.ceil(peak / step) * step;
    const y = (rate) => bottom - (rate / high) * (bottom - top);
    for (let rate = 0; rate <= high * 1.0001; rate += step) {
      svg.append(el("svg:line", { class: "grid", x1: left, x2: right, y1: y(rate), y2: y(rate) }));
      svg.append(el("svg:text", { x: left - 8, y: y(rate) + 4, "text-anchor": "end" }, rate ? `${bytes(rate).replace(".0 ", " ")}/s` : "0"));
    }
    ticks(shape, bottom, bottom);
    let path = `M${x(0).toFixed(1)} ${bottom}`;
    rates.forEach((rate, index) => {
      path += `V${y(rate).toFixed(1)}H${x((index + 1) * traffic.width).toFixed(1)}`;
    });
    svg.append(el("svg:path", { class: "area", d: `${path}V${bottom}Z` }), el("svg:path", { class: "edge", d: `${path}V${bottom}` }));
    const cross = el("svg:line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
    const say = el("svg:text", { y: top + 8, visibility: "hidden" });
    svg.append(cross, say);
    const hide = () => [cross, say].forEach((node) => node.setAttribute("visibility", "hidden"));
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const place = event.clientX - svg.getBoundingClientRect().left;
      if (place < left || place > right) return hide();
      const at = shape.seconds(place);
      cross.setAttribute("x1", place);
      cross.setAttribute("x2", place);
      const over = place > (left + right) / 2;
      say.setAttribute("x", place + (over ? -6 : 6));
      say.setAttribute("text-anchor", over ? "end" : "start");
      say.textContent = `${duration(at)}: ${bytes(rates[Math.floor(at / traffic.width)] || 0)}/s`;
      [cross, say].forEach((node) => node.setAttribute("visibility", "visible"));
    });
    host.replaceChildren(svg);
  };

  const drawWorkers = () => {
    const host = byId("workers");
    const heads = host.previousElementSibling.previousElementSibling;
    [host, heads, byId("legend"), byId("pointed")].forEach((node) => { node.hidden = !lanes.length; });
    if (!lanes.length) return;
    byId("legend").textContent = traffic.flights.length
      ? "Each bar is one blob on its way: point at it to see which. Pale is work on blobs too short to be shown. On the right, the share of the time at work."
      : "The time in which each moved something; on the right, its share.";
    const row = lanes.length > 48 ? 9 : 16;
    const bottom = lanes.length * row;
    const shape = frame(host, bottom + 24, `What ${lanes.length} workers did over ${duration(total)}`);
    const { svg, left, right, x } = shape;
    ticks(shape, 0, bottom);
    lanes.forEach((worker, index) => {
      const [y, high] = [index * row + 1, row - 3];
      svg.append(el("svg:rect", { class: "lane", x: left, y, width: right - left, height: high }));
      let path = "";
      worker.busy.forEach((busy, bucket) => {
        const from = bucket * traffic.width;
        const share = Math.min(1, busy / 1000 / Math.min(traffic.width, Math.max(total - from, 0.001)));
        if (share > 0 && from < total) path += `M${x(from).toFixed(1)} ${y + high}v${(-share * high).toFixed(1)}H${x(from + traffic.width).toFixed(1)}V${y + high}Z`;
      });
      if (path) svg.append(el("svg:path", { class: "busy", d: path }));
      const small = row < 12 && index % 4;
      const busy = worker.busy.reduce((sum, part) => sum + part, 0) / 1000 / total;
      if (!small) {
        svg.append(el("svg:text", { x: left - 8, y: y + high - 2, "text-anchor": "end" }, worker.name));
        svg.append(el("svg:text", { x: right + 36, y: y + high - 2, "text-anchor": "end" }, `${Math.round(Math.min(busy, 1) * 100)} %`));
      }
    });
    let chosen = null;
    for (const flight of traffic.flights) {
      if (!lanes[flight.worker]) continue;
      const from = x(flight.start);
      const wide = Math.max(1, x(flight.start + flight.seconds) - from - 0.6);
      const bar = el("svg:rect", { class: "flight", x: from, y: flight.worker * row + 1, width: wide, height: row - 3, rx: Math.min(2, wide / 3) });
      const point = () => {
        if (chosen) chosen.classList.remove("on");
        chosen = bar;
        bar.classList.add("on");
        const rate = flight.seconds > 0 ? `, ${bytes(flight.bytes / flight.seconds)}/s` : "";
        byId("pointed").replaceChildren(
          `Worker ${lanes[flight.worker].name}, from ${duration(flight.start)}: ${bytes(flight.bytes)} in ${duration(flight.seconds)}${rate}. `,
          el("span", { class: "name" }, short(flight.digest)), " from ", el("span", { class: "name" }, flight.source),
          " to ", el("span", { class: "name" }, flight.destination));
      };
      bar.addEventListener("pointerenter", point);
      bar.addEventListener("click", point);
      svg.append(bar);
    }
    host.replaceChildren(svg);
  };

  /* The table: rows are made as they come into sight. */
  const STEP = 100;
  const text = (image) => `${image.source} ${image.destination}`;
  const COLUMNS = [
    { id: "result", title: "Result", key: (image) => RESULTS.indexOf(image.result) },
    { id: "source", title: "Source", key: (image) => image.source },
    { id: "destination", title: "Destination", key: (image) => image.destination },
    { id: "digest", title: "Digest", key: (image) => image.destinationDigest || "" },
    { id: "size", title: "Size", number: true, key: (image) => (image.size === null ? -1 : image.size) },
    { id: "moved", title: MOVED, number: true, key: (image) => image.bytesMoved },
    { id: "time", title: "Time", number: true, key: (image) => image.seconds },
  ];
  const state = { words: [], only: null, column: 1, down: false, shown: 0, rows: images };
  const haystacks = new Map();
  const haystack = (image) => {
    let known = haystacks.get(image);
    if (known === undefined) {
      known = [text(image), image.sourceDigest, image.destinationDigest, image.previousDigest, image.category, image.reason, image.platforms.join(" ")].join(" ").toLowerCase();
      haystacks.set(image, known);
    }
    return known;
  };

  const cell = (id, ...children) => el("td", { class: `c-${id}${COLUMNS.find((column) => column.id === id).number ? " number" : ""}` }, ...children);
  const name = (value) => el("span", { class: "name" }, value);
  const line = (image) => {
    const dot = el("span", { class: "result" }, el("i", { class: image.result }), WORDS[image.result]);
    const why = image.reason ? el("span", { class: "why" }, image.reason) : null;
    const row = el("tr", { tabindex: "0" },
      cell("result", dot), cell("source", name(image.source), why), cell("destination", name(image.destination)),
      cell("digest", name(short(image.destinationDigest).replace(/^sha256:/, ""))), cell("size", bytes(image.size)),
      cell("moved", image.bytesMoved ? bytes(image.bytesMoved) : ""), cell("time", image.attempts ? duration(image.seconds) : ""));
    const toggle = () => {
      const next = row.nextElementSibling;
      if (next && next.classList.contains("detail")) next.remove();
      else row.after(detail(image));
    };
    row.addEventListener("click", () => String(getSelection()) || toggle());
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter") toggle();
    });
    return row;
  };
  const detail = (image) => {
    const facts = [
      ["Source digest", image.sourceDigest], ["Destination digest", image.destinationDigest], ["Before", image.previousDigest],
      ["Media type", image.mediaType], ["Platforms", image.platforms.join(", ")],
      ["Size", image.size === null ? null : `${bytes(image.size)} (${numbers.format(image.size)} bytes)`],
      ["Blobs", `${numbers.format(image.blobsMoved)} ${MOVED.toLowerCase()} (${bytes(image.bytesMoved)}), ${numbers.format(image.blobsMounted)} ${isPlan ? "to link" : "linked"}, ${numbers.format(image.blobsPresent)} there`],
      ["Category", image.category], ["Attempts", numbers.format(image.attempts)], ["Started", image.started],
    ];
    const list = facts.filter(([, value]) => value).flatMap(([title, value]) => [el("dt", {}, title), el("dd", {}, name(value))]);
    return el("tr", { class: "detail" }, el("td", { colspan: COLUMNS.length }, el("dl", {}, ...list)));
  };

  const more = (until) => {
    const end = Math.min(until, state.rows.length);
    byId("rows").append(...state.rows.slice(state.shown, end).map(line));
    state.shown = Math.max(state.shown, end);
    const left = state.rows.length - state.shown;
    byId("more").textContent = left ? `${count(left, "more image")} below` : "";
  };
  const refresh = () => {
    const { words, only, column, down } = state;
    const { key } = COLUMNS[column];
    const wanted = images.filter((image) => (!only || image.result === only) && words.every((word) => haystack(image).includes(word)));
    const keys = new Map(wanted.map((image) => [image, key(image)]));
    const order = (a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0);
    state.rows = wanted.sort((a, b) => (down ? -order(a, b) : order(a, b)));
    state.shown = 0;
    byId("rows").replaceChildren();
    more(STEP);
    byId("count").textContent = wanted.length === images.length ? count(images.length, "image") : `${numbers.format(wanted.length)} of ${count(images.length, "image")}`;
    [...byId("head").children].forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    byId("sort").value = `${column}${down ? "-" : "+"}`;
    for (const chip of byId("chips").children) chip.setAttribute("aria-pressed", String((chip.dataset.result || null) === only));
  };

  const table = () => {
    COLUMNS.forEach(({ id, title, number }, index) => {
      const button = el("button", { type: "button" }, title);
      button.addEventListener("click", () => {
        state.down = state.column === index ? !state.down : Boolean(number);
        state.column = index;
        refresh();
      });
      byId("head").append(el("th", { class: `c-${id}${number ? " number" : ""}`, scope: "col", "data-title": title }, button));
      const orders = number ? [["-", "largest first"], ["+", "smallest first"]] : [["+", "A to Z"], ["-", "Z to A"]];
      if (id === "result") orders.splice(0, 2, ["+", "failures first"]);
      for (const [sign, order] of orders) byId("sort").append(el("option", { value: `${index}${sign}` }, `${title}, ${order}`));
    });
    byId("sort").addEventListener("change", ({ target }) => {
      state.column = Number(target.value.slice(0, -1));
      state.down = target.value.endsWith("-");
      refresh();
    });
    const chip = (result, ...children) => {
      const button = el("button", { type: "button", "data-result": result }, ...children);
      button.addEventListener("click", () => {
        state.only = state.only === result ? null : result || null;
        refresh();
      });
      return button;
    };
    const present = RESULTS.filter((result) => counts[result]);
    if (present.length > 1) {
      byId("chips").append(chip("", "all"), ...present.map((result) => chip(result, el("i", { class: result }), `${WORDS[result]} ${numbers.format(counts[result])}`)));
    }
    let waiting = 0;
    byId("filter").addEventListener("input", ({ target }) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        state.words = target.value.toLowerCase().split(/\s+/).filter(Boolean);
        refresh();
      }, 80);
    });
    byId("images").hidden = !images.length;
    refresh();
    new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting) && state.shown < state.rows.length) more(state.shown + STEP);
    }, { rootMargin: "1200px" }).observe(byId("more"));
  };

  /* On paper all of it is there, as far as paper goes. */
  const PAPER = 5000;
  addEventListener("beforeprint", () => {
    for (const group of document.querySelectorAll("details.group")) {
      group.dispatchEvent(new Event("print"));
      group.open = true;
    }
    more(PAPER);
    const left = state.rows.length - state.shown;
    if (left > 0) byId("more").textContent = `${count(left, "more image")}: see the .csv report, or filter before printing`;
  });

  verdict();
  totals();
  failures();
  byId("main").hidden = false;
  byId("traffic").hidden = !traffic.bytes.length && !lanes.length;
  let drawn = 0;
  const draw = () => {
    if (byId("traffic").hidden || drawn === byId("rate").clientWidth) return;
    drawn = byId("rate").clientWidth;
    drawRate();
    drawWorkers();
  };
  draw();
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(byId("main"));
  table();
})();
