"use strict";
// What the page shows: the night's rows, what the filters leave of them, and how numbers are written.
// Amounts are whole cents.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STORED = {
  get: k => {
    try {
      return localStorage.getItem(k);
    } catch {
      return null;
    }
  },
  set: (k, v) => {
    try {
      localStorage.setItem(k, v);
    } catch {
      /* a file may not keep anything */
    }
  },
};

let language = STORED.get("regua-language") || "pt-BR";
const t = key => TEXTS[language][key];
const state = { period: "12", currency: null, segment: "", policy: "", channel: "" };

const rowsOf = name => {
  const { columns, rows } = DATA.tables[name];
  return rows.map(row => Object.fromEntries(columns.map((column, place) => [column, row[place]])));
};
const TABLES = Object.fromEntries(Object.keys(DATA.tables).map(name => [name, rowsOf(name)]));

const money = (cents, compact = true) =>
  new Intl.NumberFormat(language, {
    style: "currency",
    currency: state.currency || "BRL",
    notation: compact && Math.abs(cents) >= 1e6 ? "compact" : "standard",
    maximumFractionDigits: !compact || Math.abs(cents) >= 1e8 ? 2 : 1,
    minimumFractionDigits: compact ? 0 : 2,
  }).format(cents / 100);
const percent = (part, whole) =>
  whole ? new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 }).format(part / whole) : "–";
const decimal = n => new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(n);
const number = n => new Intl.NumberFormat(language).format(n ?? 0);
const dayText = day => new Intl.DateTimeFormat(language, { timeZone: "UTC" }).format(new Date(`${day}T00:00:00Z`));
const monthText = day =>
  new Intl.DateTimeFormat(language, { timeZone: "UTC", month: "short", year: "2-digit" }).format(
    new Date(`${day}T00:00:00Z`),
  );
const channelText = code => t("channelNames")[code] || code;
const daysBetween = (from, to) =>
  Math.round((Date.parse(`${to.slice(0, 10)}T00:00:00Z`) - Date.parse(`${from.slice(0, 10)}T00:00:00Z`)) / 864e5);
const bucketText = code =>
  code === "current"
    ? t("current")
    : code === "paid"
      ? t("paid")
      : code === "removed"
        ? t("removed")
        : `${code} ${t("days")}`;
const total = (rows, column) => rows.reduce((sum, row) => sum + (row[column] || 0), 0);
const unique = (rows, column) => [...new Set(rows.map(row => row[column]))].sort();
function grouped(rows, column) {
  const groups = new Map();
  for (const row of rows) {
    if (groups.has(row[column])) groups.get(row[column]).push(row);
    else groups.set(row[column], [row]);
  }
  return groups;
}

// Asked once for every row, so worked out once a period.
const BEGINNINGS = new Map();
function since() {
  if (!BEGINNINGS.has(state.period)) BEGINNINGS.set(state.period, beginning());
  return BEGINNINGS.get(state.period);
}
function beginning() {
  const day = new Date(`${DATA.as_of}T00:00:00Z`);
  day.setUTCMonth(day.getUTCMonth() - Number(state.period));
  return day.toISOString().slice(0, 10);
}
function chosen(name, day) {
  return TABLES[name].filter(
    row =>
      (!("currency_code" in row) || row.currency_code === state.currency) &&
      (!("segment_code" in row) || !state.segment || row.segment_code === state.segment) &&
      (!("policy_code" in row) || !state.policy || row.policy_code === state.policy) &&
      (!("channel_code" in row) || !state.channel || row.channel_code === state.channel) &&
      (!day || row[day] >= since()),
  );
}

// Sums of columns, month by month.
const byMonth = (name, ...columns) =>
  [...grouped(chosen(name, "month_date"), "month_date")].map(([month, rows]) => ({
    month,
    ...Object.fromEntries(columns.map(column => [column, total(rows, column)])),
  }));

// A number that leads to the customers and invoices behind it, for those who may look at them.
function linked(text, listing, narrowed) {
  if (!DATA.lists) return text;
  const given = { currency: state.currency, segment: state.segment, policy: state.policy, ...narrowed, lang: language };
  return {
    text,
    href: `${DATA.lists}${listing}?${new URLSearchParams(Object.entries(given).filter(([, value]) => value))}`,
  };
}
