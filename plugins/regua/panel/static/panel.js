"use strict";
// The page: headline, numbers, cards, filters.

let theme = STORED.get("regua-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const plots = new Map();

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const contentOf = cell =>
  cell.href ? element("a", { href: cell.href, target: "_blank", rel: "noopener" }, cell.text) : cell;
function tableOf({ head, rows }, caption) {
  const made = element("table");
  made.append(element("caption", { class: "skip" }, caption));
  made.append(element("thead", {}, element("tr", {}, ...head.map(text => element("th", { scope: "col" }, text)))));
  made.append(
    element(
      "tbody",
      {},
      ...rows.map(row =>
        element(
          "tr",
          {},
          ...row.map((cell, place) =>
            place ? element("td", {}, contentOf(cell)) : element("th", { scope: "row" }, contentOf(cell)),
          ),
        ),
      ),
    ),
  );
  return made;
}
function definitionOf(mart) {
  const { description, columns } = DATA.definitions[language][mart];
  return element(
    "div",
    {},
    element("p", {}, element("code", {}, mart), ": ", description),
    element(
      "dl",
      {},
      ...Object.entries(columns).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]),
    ),
  );
}
function tile(name, value, note, kind = "") {
  return element(
    "div",
    { class: "tile" },
    element("div", { class: "name" }, name),
    element("div", { class: `value ${kind}` }, value),
    element("div", { class: "note" }, note),
  );
}

// The only thing told by the reader's own clock: how old what they look at is.
function nightTile() {
  const red = total(TABLES.gates, "red_count"),
    age = daysBetween(DATA.as_of, new Date().toISOString());
  const value = TABLES.gates.length ? (red ? t("someRed")(number(red)) : t("allGreen")) : t("notTold");
  return tile(
    t("night"),
    value,
    `${t("dataOf")} ${dayText(DATA.as_of)}${age > 1 ? `, ${t("ago")(number(age))}` : ""}`,
    red ? "bad" : TABLES.gates.length ? "good" : "",
  );
}

function drawTiles() {
  const rows = chosen("balances"),
    now = rows.filter(row => row.day_date === DATA.as_of);
  const earlier = unique(rows, "day_date")
      .filter(day => day < DATA.as_of)
      .slice(-4)[0],
    then = rows.filter(row => row.day_date === earlier);
  const flows = chosen("flows").filter(row => row.month_date === `${DATA.as_of.slice(0, 7)}-01`),
    ahead = chosen("forecast").filter(row => row.week_number <= 4);
  const open = total(now, "open_amount"),
    overdue = total(now, "overdue_amount"),
    small = total(now, "small_delay_amount"),
    old = total(now, "overdue_over_90_amount");
  const rate = total(now, "billed_due_amount") ? overdue / total(now, "billed_due_amount") : 0,
    rateBefore = total(then, "billed_due_amount")
      ? total(then, "overdue_amount") / total(then, "billed_due_amount")
      : 0;
  const expected = total(ahead, "expected_amount");
  document
    .getElementById("tiles")
    .replaceChildren(
      tile(t("open"), money(open), `${number(total(now, "open_count"))} ${t("invoices")}`),
      tile(t("overdue"), money(overdue), `${percent(overdue, open)} ${t("ofOpen")}`),
      tile(t("small"), money(small), `${percent(small, overdue)} ${t("ofOverdue")}`),
      tile(t("over90"), money(old), `${percent(old, overdue)} ${t("ofOverdue")}`),
      tile(
        t("delinquency"),
        percent(rate, 1),
        `${percent(rateBefore, 1)} ${t("before")}`,
        rate > rateBefore ? "bad" : "good",
      ),
      tile(
        t("recovered"),
        money(total(flows, "recovered_amount")),
        `${money(total(flows, "new_overdue_amount"))} ${t("newOverdue")}`,
      ),
      tile(
        t("expected"),
        money(expected),
        [
          ahead.some(row => row.low_amount === null)
            ? ""
            : t("band")(money(total(ahead, "low_amount")), money(total(ahead, "high_amount"))),
          unfiltered("forecast") && t("wholePortfolio"),
        ]
          .filter(Boolean)
          .join(", "),
      ),
      nightTile(),
    );
  const shown = [rate, rateBefore].map(value => percent(value, 1));
  document.getElementById("headline").textContent = t("headline")({
    day: dayText(DATA.as_of),
    open: money(open),
    overdue: money(overdue),
    share: percent(overdue, open),
    small: money(small),
    rate: shown[0],
    rateBefore: shown[1],
    trend: shown[0] === shown[1] ? t("same") : rate > rateBefore ? t("up") : t("down"),
    expected: money(expected),
  });
}

// What the reader sees is drawn at once and the rest card by card, so that a filter answers at once.
let drawing = 0;
function drawCharts() {
  const turn = ++drawing,
    later = [];
  document.documentElement.dataset.drawn = "no";
  for (const name of Object.keys(CHARTS)) {
    const box = document.getElementById(`card-${name}`).getBoundingClientRect();
    if (box.top < innerHeight && box.bottom > 0) drawChart(name);
    else later.push(name);
  }
  const next = () => {
    if (turn !== drawing) return;
    if (!later.length) {
      document.documentElement.dataset.drawn = "yes";
      return;
    }
    drawChart(later.shift());
    setTimeout(next);
  };
  setTimeout(next);
}
// Says which of the filters in use the numbers cannot follow.
function unfiltered(table) {
  const names = ["segment", "policy", "channel"].filter(
    name => state[name] && !DATA.tables[table].columns.includes(`${name}_code`),
  );
  return names.length ? t("unfiltered")(names.map(name => t(name).toLocaleLowerCase(language)).join(t("and"))) : "";
}
function drawChart(name) {
  const chart = CHARTS[name],
    card = document.getElementById(`card-${name}`),
    made = chart.make();
  card.querySelector("h2").textContent = t(name);
  const answer = card.querySelector(".answer");
  answer.textContent = `${made.table.rows.length ? made.answer : t("nothing")} ${unfiltered(chart.of)}`.trim();
  answer.className = `answer ${made.bad ? "bad" : ""}`;
  const place = card.querySelector(".plot");
  place.hidden = !made.option || !made.table.rows.length;
  place.setAttribute("aria-label", `${t(name)}. ${made.answer}`);
  if (!place.hidden) {
    if (made.tall) place.style.height = `${Math.max(19, 1.6 * made.table.rows.length + 4)}rem`;
    if (!plots.has(name)) plots.set(name, echarts.init(place, null, { renderer: "canvas" }));
    plots.get(name).resize();
    plots.get(name).setOption(readable(made.option), true);
  }
  const [table, definition] = card.querySelectorAll("details");
  table.querySelector("summary").textContent = t("table");
  if (made.isOpen) table.open = true;
  table.querySelector(".scroll").replaceChildren(tableOf(made.table, t(name)));
  if (definition) definition.replaceChildren(element("summary", {}, t("definition")), definitionOf(chart.mart));
}

function build() {
  document.getElementById("charts").replaceChildren(
    ...Object.entries(CHARTS).map(([name, chart]) => {
      const card = element(
        "section",
        { class: "card", id: `card-${name}`, "aria-labelledby": `name-${name}` },
        element("h2", { id: `name-${name}` }),
        element("p", { class: "answer" }),
        element("div", { class: "plot", role: "img" }),
        element(
          "details",
          {},
          element("summary"),
          element("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": `name-${name}` }),
        ),
      );
      if (chart.mart) card.append(element("details"));
      return card;
    }),
  );
}

function fill(id, options) {
  const select = document.getElementById(id);
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  select.value = state[id] ?? "";
}
function label() {
  document.documentElement.lang = language;
  document.documentElement.dataset.theme = theme;
  document.querySelectorAll("[data-text]").forEach(one => {
    one.textContent = t(one.dataset.text);
  });
  document.getElementById("filters").setAttribute("aria-label", t("filters"));
  document.getElementById("tiles").setAttribute("aria-label", t("tiles"));
  document.getElementById("language").textContent = t("other");
  document.getElementById("theme").textContent = t(theme === "dark" ? "light" : "dark");
  const lists = document.getElementById("lists");
  lists.hidden = !DATA.lists;
  if (DATA.lists) lists.href = `${DATA.lists}debtors?lang=${language}`;
  lists.textContent = t("lists");
  document.getElementById("foot").textContent = t("foot")(dayText(DATA.as_of), DATA.known_at.slice(0, 19));
  const any = [["", t("all")]],
    named = code => [code, code === "none" ? t("none") : code];
  fill(
    "period",
    ["3", "6", "12"].map(months => [months, t("months")(months)]),
  );
  fill(
    "currency",
    unique(TABLES.balances, "currency_code").map(code => [code, code]),
  );
  fill("segment", [...any, ...unique(TABLES.balances, "segment_code").map(named)]);
  fill("policy", [...any, ...unique(TABLES.balances, "policy_code").map(named)]);
  fill("channel", [...any, ...unique(TABLES.steps, "channel_code").map(code => [code, channelText(code)])]);
}
function draw() {
  label();
  drawTiles();
  drawCharts();
}

const currencies = unique(TABLES.balances, "currency_code");
state.currency = currencies.includes("BRL") ? "BRL" : currencies[0];
build();
document.getElementById("filters").addEventListener("change", event => {
  state[event.target.id] = event.target.value;
  drawTiles();
  drawCharts();
});
document.getElementById("language").addEventListener("click", () => {
  language = language === "en" ? "pt-BR" : "en";
  STORED.set("regua-language", language);
  draw();
});
document.getElementById("theme").addEventListener("click", () => {
  theme = theme === "dark" ? "light" : "dark";
  STORED.set("regua-theme", theme);
  draw();
});
addEventListener("resize", () => plots.forEach(plot => plot.resize()));
draw();
