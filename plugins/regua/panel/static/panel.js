"use strict";
// Adds up the rows that the filters leave, and draws them. Amounts are whole cents.

const DATA = JSON.parse(document.getElementById("data").textContent);
const TEXTS = {
  "pt-BR": {
    title: "Painel de recebíveis", skip: "Ir para o conteúdo", period: "Período", currency: "Moeda", segment: "Segmento",
    policy: "Régua", channel: "Canal", all: "todos", months: n => `${n} meses`, filters: "Filtros", tiles: "Números do dia",
    dark: "Tema escuro", light: "Tema claro", other: "English", table: "Tabela", definition: "Definição", none: "sem segmento",
    nothing: "Sem dados para estes filtros.",
    open: "Em aberto", overdue: "Vencido", small: "Atrasos de até 4 dias", over90: "Vencido há mais de 90 dias",
    delinquency: "Inadimplência", recovered: "Recuperado no mês", expected: "Previsto em 4 semanas", invoices: "faturas",
    ofOpen: "do que está em aberto", ofOverdue: "do vencido", before: "4 semanas antes",
    newOverdue: "passou a vencido", band: (low, high) => `entre ${low} e ${high}`,
    channelNames: { email: "e-mail", sms: "SMS", whatsapp: "WhatsApp", letter: "carta", call: "ligação" }, sent: "entregues",
    allGreen: "Verificada ✓", someRed: n => `✗ ${n} em vermelho`, notTold: "Sem registro", dataOf: "dados de", ago: n => `há ${n} dias`,
    aging: "Quanto devem e há quanto tempo", agingAnswer: (a, b) => `${a} do que está em aberto já venceu; há ${b} semanas eram`,
    curve: "Quanto do vencido volta", curveAnswer: p => `Em 30 dias voltam ${p} do que venceu.`,
    cohorts: "Recuperação por mês em que venceu", cohortsAnswer: "Cada linha é o que venceu num mês; mais escuro, mais recuperado.",
    rolls: "Para onde vai o que está em cada faixa", rollsAnswer: p => `Do que estava vencido há até 30 dias, ${p} foi pago até o fim do mês seguinte.`,
    steps: "O que cada passo da régua traz", stepsAnswer: "Pagamentos até 7 dias depois da última mensagem entregue.",
    channels: "Canais: entregue e recuperado", channelsAnswer: "Linhas entregues (barras) e valor creditado (pontos).",
    funnel: "Do planejado ao pago", funnelAnswer: p => `${p} do que foi entregue teve pagamento em até 7 dias.`,
    access: "Suspensões e retornos", accessAnswer: n => n ? `${n} contratos suspensos no período.` : "Nenhuma suspensão publicada no período.",
    forecast: "Caixa esperado do que está em aberto", forecastAnswer: p => `Erro médio de previsões anteriores: ${p}.`,
    trust: "Confiança: erros que o cliente sente", trustAnswer: n => n ? `${n} contatos ou suspensões indevidos no período.` : "Nenhum contato e nenhuma suspensão indevidos no período.",
    night: "A última noite", nightAnswer: ok => ok ? "Todas as verificações passaram." : "Há verificações em vermelho.",
    week: "semana", paid: "pago", removed: "baixado", days: "dias", month: "mês", from: "de", to: "para",
    current: "a vencer", planned: "planejado", accepted: "aceito", delivered: "entregue", credited: "com pagamento",
    returned: "voltaram", suspended: "suspensos", falseContact: "contatos indevidos", falseSuspension: "suspensões indevidas",
    contacts: "contatos", low: "mínimo", high: "máximo", share: "parte", amount: "valor", step: "passo",
    gate: "verificação", ok: "em ordem", red: "em vermelho", feed: "fonte", last: "última carga", age: "dias",
    proposed: "cancelamento proposto", unknown: "sem resposta", meanDays: "dias até voltar",
    promises: "Promessas de pagamento", promisesAnswer: p => `${p} das promessas do período foram cumpridas.`,
    promised: "prometidas", kept: "cumpridas", promisedAmount: "valor prometido", keptAmount: "valor cumprido",
    agreements: "Acordos", agreementsAnswer: p => `${p} dos acordos do período foram quebrados.`,
    agreed: "acordos", broken: "quebrados", coveredAmount: "valor coberto", brokenAmount: "valor quebrado",
    experiments: "O que o contato acrescenta", effect: "efeito", treated: "contatados", holdout: "sem contato", points: "p.p.",
    experimentsAnswer: (k, n) => `${k} de ${n} comparações mostram efeito: o intervalo de 95 % não inclui o zero.`,
    churn: "Contratos perdidos", churnAnswer: p => `${p} dos contratos ativos se perderam por falta de pagamento, por mês em média.`,
    active: "ativos", ended: "terminados", endedUnpaid: "terminados sem pagar", recoveredContracts: "recuperados",
    nights: "Noites e verificações", nightsAnswer: n => n ? `${n} verificações noturnas ficaram em vermelho no período.` : "Nenhuma noite em vermelho no período.",
    nightCount: "noites", redNights: "noites em vermelho", redChecks: "itens em vermelho",
    unfiltered: names => `Sem o filtro de ${names}.`, wholePortfolio: "da carteira toda", and: " e ",
    expected2: "esperado", lists: "Abrir clientes",
    headline: h => `Em ${h.day}, há ${h.open} em aberto. Estão vencidos ${h.overdue} (${h.share}), e ${h.small} disso é atraso de até 4 dias. ` +
      `A inadimplência é ${h.rate} do que já venceu (${h.trend} ${h.rateBefore} quatro semanas antes). Em 4 semanas devem entrar ${h.expected}.`,
    up: "acima de", down: "abaixo de", same: "como", foot: (a, k) => `Dados de ${a}, conhecidos em ${k} (UTC). Nenhum dado pessoal nesta página.`,
  },
  en: {
    title: "Receivables panel", skip: "Skip to content", period: "Period", currency: "Currency", segment: "Segment",
    policy: "Policy", channel: "Channel", all: "all", months: n => `${n} months`, filters: "Filters", tiles: "The day's numbers",
    dark: "Dark theme", light: "Light theme", other: "Português", table: "Table", definition: "Definition", none: "no segment",
    nothing: "Nothing for these filters.",
    open: "Open", overdue: "Overdue", small: "Delays of up to 4 days", over90: "Overdue for over 90 days",
    delinquency: "Delinquency", recovered: "Recovered this month", expected: "Expected in 4 weeks", invoices: "invoices",
    ofOpen: "of what is open", ofOverdue: "of the overdue", before: "4 weeks before",
    newOverdue: "became overdue", band: (low, high) => `between ${low} and ${high}`,
    channelNames: { email: "e-mail", sms: "SMS", whatsapp: "WhatsApp", letter: "letter", call: "call" }, sent: "delivered",
    allGreen: "Checked ✓", someRed: n => `✗ ${n} red`, notTold: "Not recorded", dataOf: "data of", ago: n => `${n} days ago`,
    aging: "How much is owed, and for how long", agingAnswer: (a, b) => `${a} of what is open is overdue; ${b} weeks ago it was`,
    curve: "How much of the overdue comes back", curveAnswer: p => `Within 30 days ${p} of what became overdue is back.`,
    cohorts: "Recovery by month of becoming overdue", cohortsAnswer: "Each row is what became overdue in a month; darker is more recovered.",
    rolls: "Where each bucket's balance goes", rollsAnswer: p => `Of what was overdue for up to 30 days, ${p} was paid by the end of the next month.`,
    steps: "What each step of the ladder brings", stepsAnswer: "Payments up to 7 days after the last message delivered.",
    channels: "Channels: delivered and recovered", channelsAnswer: "Lines delivered (bars) and amount credited (dots).",
    funnel: "From planned to paid", funnelAnswer: p => `${p} of what was delivered was paid within 7 days.`,
    access: "Suspensions and returns", accessAnswer: n => n ? `${n} contracts suspended in the period.` : "No suspension published in the period.",
    forecast: "Cash expected of what is open", forecastAnswer: p => `Mean error of earlier forecasts: ${p}.`,
    trust: "Trust: mistakes that a customer feels", trustAnswer: n => n ? `${n} wrong contacts or suspensions in the period.` : "No wrong contact and no wrong suspension in the period.",
    night: "Last night", nightAnswer: ok => ok ? "All checks passed." : "Some checks are red.",
    week: "week", paid: "paid", removed: "removed", days: "days", month: "month", from: "from", to: "to",
    current: "not due", planned: "planned", accepted: "accepted", delivered: "delivered", credited: "paid",
    returned: "returned", suspended: "suspended", falseContact: "wrong contacts", falseSuspension: "wrong suspensions",
    contacts: "contacts", low: "low", high: "high", share: "share", amount: "amount", step: "step",
    gate: "check", ok: "green", red: "red", feed: "source", last: "last load", age: "days",
    proposed: "cancellation proposed", unknown: "no answer", meanDays: "days until back",
    promises: "Promises to pay", promisesAnswer: p => `${p} of the period's promises were kept.`,
    promised: "promised", kept: "kept", promisedAmount: "amount promised", keptAmount: "amount kept",
    agreements: "Agreements", agreementsAnswer: p => `${p} of the period's agreements were broken.`,
    agreed: "agreements", broken: "broken", coveredAmount: "amount covered", brokenAmount: "amount broken",
    experiments: "What a contact adds", effect: "effect", treated: "contacted", holdout: "not contacted", points: "pp",
    experimentsAnswer: (k, n) => `${k} of ${n} comparisons show an effect: the 95% interval leaves out zero.`,
    churn: "Contracts lost", churnAnswer: p => `${p} of the active contracts were lost for want of payment, each month on average.`,
    active: "active", ended: "ended", endedUnpaid: "ended unpaid", recoveredContracts: "recovered",
    nights: "Nights and checks", nightsAnswer: n => n ? `${n} nightly checks were red in the period.` : "No night was red in the period.",
    nightCount: "nights", redNights: "red nights", redChecks: "red items",
    unfiltered: names => `Not filtered by ${names}.`, wholePortfolio: "of the whole portfolio", and: " and ",
    expected2: "expected", lists: "Open customers",
    headline: h => `On ${h.day}, ${h.open} is open. ${h.overdue} of it is overdue (${h.share}), and ${h.small} of that is a delay of up to 4 days. ` +
      `Delinquency is ${h.rate} of what has fallen due (${h.trend} ${h.rateBefore} four weeks before). ${h.expected} is expected within 4 weeks.`,
    up: "above", down: "below", same: "as", foot: (a, k) => `Data of ${a}, known at ${k} (UTC). No personal data on this page.`,
  },
};
// Okabe and Ito: told apart by whoever sees colours in another way; patterns tell them apart for whoever sees none.
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"];
const BUCKETS = ["current", "1-30", "31-60", "61-90", "90+"];
const STORED = { get: k => { try { return localStorage.getItem(k); } catch { return null; } },
  set: (k, v) => { try { localStorage.setItem(k, v); } catch { /* a file may not keep anything */ } } };

let language = STORED.get("regua-language") || "pt-BR";
let theme = STORED.get("regua-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const t = key => TEXTS[language][key];
const state = { period: "12", currency: null, segment: "", policy: "", channel: "" };
const plots = new Map();

const rowsOf = name => {
  const { columns, rows } = DATA.tables[name];
  return rows.map(row => Object.fromEntries(columns.map((column, place) => [column, row[place]])));
};
const TABLES = Object.fromEntries(Object.keys(DATA.tables).map(name => [name, rowsOf(name)]));

const money = (cents, compact = true) => new Intl.NumberFormat(language, { style: "currency", currency: state.currency || "BRL",
  notation: compact && Math.abs(cents) >= 1e6 ? "compact" : "standard", maximumFractionDigits: !compact || Math.abs(cents) >= 1e8 ? 2 : 1,
  minimumFractionDigits: compact ? 0 : 2 }).format(cents / 100);
const percent = (part, whole) => whole ? new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 }).format(part / whole) : "–";
const decimal = n => new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(n);
const number = n => new Intl.NumberFormat(language).format(n ?? 0);
const dayText = day => new Intl.DateTimeFormat(language, { timeZone: "UTC" }).format(new Date(`${day}T00:00:00Z`));
const monthText = day => new Intl.DateTimeFormat(language, { timeZone: "UTC", month: "short", year: "2-digit" }).format(new Date(`${day}T00:00:00Z`));
const channelText = code => t("channelNames")[code] || code;
const daysBetween = (from, to) => Math.round((Date.parse(`${to.slice(0, 10)}T00:00:00Z`) - Date.parse(`${from.slice(0, 10)}T00:00:00Z`)) / 864e5);
const bucketText = code => code === "current" ? t("current") : code === "paid" ? t("paid") : code === "removed" ? t("removed") : `${code} ${t("days")}`;
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
  return TABLES[name].filter(row =>
    (!("currency_code" in row) || row.currency_code === state.currency) &&
    (!("segment_code" in row) || !state.segment || row.segment_code === state.segment) &&
    (!("policy_code" in row) || !state.policy || row.policy_code === state.policy) &&
    (!("channel_code" in row) || !state.channel || row.channel_code === state.channel) &&
    (!day || row[day] >= since()));
}

const byMonth = (name, ...columns) => [...grouped(chosen(name, "month_date"), "month_date")].map(([month, rows]) =>
  ({ month, ...Object.fromEntries(columns.map(column => [column, total(rows, column)])) }));
// Bars side by side for each month; nothing to draw where all of them are zero.
function monthlyBars(months, columns) {
  if (!months.some(one => Object.values(columns).some(column => one[column]))) return null;
  return { ...base(), legend: legend(), tooltip: tip(number), xAxis: { type: "category", data: months.map(one => monthText(one.month)) },
    yAxis: { type: "value", minInterval: 1 },
    series: Object.entries(columns).map(([name, column]) => ({ type: "bar", name: t(name), data: months.map(one => one[column]) })) };
}
// A number that leads to the customers and invoices behind it, for those who may look at them.
function linked(text, listing, narrowed) {
  if (!DATA.lists) return text;
  const given = { currency: state.currency, segment: state.segment, policy: state.policy, ...narrowed, lang: language };
  return { text, href: `${DATA.lists}${listing}?${new URLSearchParams(Object.entries(given).filter(([, value]) => value))}` };
}

// Charts: each gives an answer in words, an option to draw (or none), and a table; `of` names the rows it adds up.
const CHARTS = {
  aging: { mart: "kpi_aging", of: "aging", make() {
    const rows = chosen("aging", "day_date"), days = unique(rows, "day_date"), byDay = grouped(rows, "day_date");
    const amount = (day, code) => total((byDay.get(day) || []).filter(row => row.aging_bucket_code === code), "open_amount");
    const shareOf = day => { const all = byDay.get(day) || []; return percent(total(all.filter(row => row.aging_bucket_code !== "current"), "open_amount"), total(all, "open_amount")); };
    return {
      answer: days.length ? `${t("agingAnswer")(shareOf(days.at(-1)), days.length - 1)} ${shareOf(days[0])}.` : "",
      option: { ...base(), legend: legend(), xAxis: { type: "category", data: days.map(dayText) }, yAxis: moneyAxis(),
        series: BUCKETS.map(code => ({ name: bucketText(code), type: "bar", stack: "all", barCategoryGap: "10%", data: days.map(day => amount(day, code)) })) },
      table: { head: [t("month"), ...BUCKETS.map(bucketText)], rows: days.map(day => [dayText(day), ...BUCKETS.map(code => agingCell(day, code, money(amount(day, code), false)))]) },
    };
  } },
  curve: { mart: "kpi_recovery_cohorts", of: "cohorts", make() {
    const rows = chosen("cohorts", "cohort_month"), horizons = unique(rows, "horizon_days").sort((a, b) => a - b);
    const share = days => { const of = rows.filter(row => row.horizon_days === days); const all = total(of, "observed_amount"); return all ? total(of, "recovered_amount") / all : null; };
    return {
      answer: share(30) === null ? "" : t("curveAnswer")(percent(share(30), 1)),
      option: { ...base(), xAxis: { type: "category", data: horizons.map(days => `${days} ${t("days")}`) },
        yAxis: { type: "value", max: 1, axisLabel: { formatter: value => percent(value, 1) } }, tooltip: tip(value => percent(value, 1)),
        series: [{ type: "line", data: horizons.map(share), symbolSize: 9, label: { show: true, formatter: part => percent(part.value, 1), color: ink() }, name: t("curve") }] },
      table: { head: [t("days"), t("share")], rows: horizons.map(days => [number(days), share(days) === null ? "–" : percent(share(days), 1)]) },
    };
  } },
  cohorts: { mart: "kpi_recovery_cohorts", of: "cohorts", make() {
    const rows = chosen("cohorts", "cohort_month"), months = unique(rows, "cohort_month"), horizons = unique(rows, "horizon_days").sort((a, b) => a - b);
    const cells = [];
    months.forEach((month, y) => horizons.forEach((days, x) => {
      const of = rows.filter(row => row.cohort_month === month && row.horizon_days === days), all = total(of, "observed_amount");
      if (all) cells.push([x, y, total(of, "recovered_amount") / all]);
    }));
    return {
      answer: t("cohortsAnswer"), tall: true,
      option: heat(horizons.map(days => `${days} ${t("days")}`), months.map(monthText), cells),
      table: { head: [t("month"), t("overdue"), ...horizons.map(days => `${days} ${t("days")}`)],
        rows: months.map((month, y) => [linked(monthText(month), "invoices", { month }), money(total(rows.filter(row => row.cohort_month === month && row.horizon_days === horizons[0]), "overdue_amount"), false),
          ...horizons.map((_, x) => { const cell = cells.find(one => one[0] === x && one[1] === y); return cell ? percent(cell[2], 1) : "–"; })]) },
    };
  } },
  rolls: { mart: "kpi_roll_rates", of: "rolls", make() {
    const rows = chosen("rolls", "month_date"), targets = [...BUCKETS, "paid", "removed"], cells = [];
    BUCKETS.forEach((from, y) => { const of = rows.filter(row => row.from_code === from), all = total(of, "amount");
      targets.forEach((to, x) => { const part = total(of.filter(row => row.to_code === to), "amount"); if (all && part) cells.push([x, y, part / all]); }); });
    const paid = cells.find(cell => cell[0] === targets.indexOf("paid") && cell[1] === 1);
    return {
      answer: paid ? t("rollsAnswer")(percent(paid[2], 1)) : "",
      option: heat(targets.map(bucketText), BUCKETS.map(bucketText), cells),
      table: { head: [`${t("from")} \\ ${t("to")}`, ...targets.map(bucketText)],
        rows: BUCKETS.map((from, y) => [bucketText(from), ...targets.map((_, x) => { const cell = cells.find(one => one[0] === x && one[1] === y); return cell ? percent(cell[2], 1) : "–"; })]) },
    };
  } },
  funnel: { mart: "kpi_step_performance", of: "steps", make() {
    const rows = chosen("steps", "month_date"), stages = ["planned", "accepted", "delivered", "credited"];
    const counts = stages.map(stage => total(rows, `${stage}_count`));
    return {
      answer: counts[2] ? t("funnelAnswer")(percent(counts[3], counts[2])) : "",
      option: { ...base(), grid: { ...base().grid, left: 110 }, xAxis: { type: "value", axisLabel: { formatter: number } }, yAxis: { type: "category", inverse: true, data: stages.map(t) }, tooltip: tip(number),
        series: [{ type: "bar", data: counts, label: { show: true, position: "insideLeft", formatter: part => number(part.value), color: "#000", backgroundColor: "#ffffffcc", padding: 3, borderRadius: 3 }, name: t("funnel") }] },
      table: { head: [t("step"), t("invoices"), t("share")], rows: stages.map((stage, place) => [t(stage), number(counts[place]), percent(counts[place], counts[0])]) },
    };
  } },
  steps: { mart: "kpi_step_performance", of: "steps", make() {
    const rows = chosen("steps", "month_date"), first = unique(rows, "month_date")[0];
    const steps = [...grouped(rows, "step_code")].map(([step, of]) => ({ step, planned: total(of, "planned_count"), delivered: total(of, "delivered_count"), credited: total(of, "credited_count"), amount: total(of, "credited_amount"), accepted: total(of, "accepted_count") }))
      .sort((a, b) => b.amount - a.amount || a.step.localeCompare(b.step));
    const largest = steps.slice(0, 10);
    return {
      answer: t("stepsAnswer"),
      option: { ...base(), grid: { ...base().grid, left: 150, right: 100 }, xAxis: { ...moneyAxis(), splitNumber: 3 }, yAxis: { type: "category", inverse: true, data: largest.map(one => one.step), axisLabel: { interval: 0, fontSize: 11 } },
        series: [{ type: "bar", name: t("amount"), data: largest.map(one => one.amount), label: { show: true, position: "right", color: ink(), formatter: part => `${number(largest[part.dataIndex].delivered)} ${t("sent")}` } }] },
      table: { head: [t("step"), t("planned"), t("accepted"), t("delivered"), t("credited"), t("amount")],
        rows: steps.map(one => [one.step, linked(number(one.planned), "contacts", { step: one.step, channel: state.channel, since: first }),
          number(one.accepted), number(one.delivered), number(one.credited), money(one.amount, false)]) },
    };
  } },
  channels: { mart: "kpi_channel_performance", of: "steps", make() {
    const rows = chosen("steps", "month_date"), first = unique(rows, "month_date")[0];
    const channels = [...grouped(rows, "channel_code")].map(([channel, of]) => ({ channel, planned: total(of, "planned_count"), accepted: total(of, "accepted_count"), delivered: total(of, "delivered_count"), bounced: total(of, "bounced_count"), amount: total(of, "credited_amount") })).sort((a, b) => b.delivered - a.delivered);
    return {
      answer: t("channelsAnswer"),
      option: { ...base(), legend: legend(), tooltip: { trigger: "axis", confine: true }, xAxis: { type: "category", data: channels.map(one => channelText(one.channel)) },
        yAxis: [{ type: "value", axisLabel: { formatter: number } }, { ...moneyAxis(), splitLine: { show: false } }],
        series: [{ type: "bar", name: t("delivered"), data: channels.map(one => one.delivered) },
          { type: "scatter", name: t("amount"), yAxisIndex: 1, symbol: "diamond", symbolSize: 16, data: channels.map(one => one.amount), tooltip: { valueFormatter: value => money(value) } }] },
      table: { head: [t("channel"), t("planned"), t("accepted"), t("delivered"), t("share"), t("amount")],
        rows: channels.map(one => [channelText(one.channel), linked(number(one.planned), "contacts", { channel: one.channel, since: first }),
          number(one.accepted), number(one.delivered), percent(one.delivered, one.accepted), money(one.amount, false)]) },
    };
  } },
  experiments: { mart: "kpi_experiments", of: "experiments", make() {
    const rows = chosen("experiments").filter(row => row.lift_pct !== null);
    const isTold = row => row.lift_low_pct > 0 || row.lift_high_pct < 0;
    const name = row => `${row.step_code} · ${channelText(row.channel_code)}`, points = value => `${decimal(value)} ${t("points")}`;
    return {
      answer: t("experimentsAnswer")(number(rows.filter(isTold).length), number(rows.length)),
      option: rows.length ? { ...base(), grid: { ...base().grid, left: 150 }, xAxis: { type: "value", axisLabel: { formatter: points } },
        yAxis: { type: "category", inverse: true, data: rows.map(name), axisLabel: { interval: 0, fontSize: 11 } },
        tooltip: { confine: true, formatter: ({ dataIndex }) => { const row = rows[dataIndex]; return `${name(row)}: ${points(row.lift_pct)} (${points(row.lift_low_pct)} – ${points(row.lift_high_pct)})`; } },
        series: [{ type: "custom", data: rows.map((row, place) => [row.lift_low_pct, row.lift_high_pct, place]), encode: { x: [0, 1], y: 2 }, renderItem: interval },
          { type: "scatter", name: t("effect"), symbol: "diamond", symbolSize: 14, data: rows.map(row => row.lift_pct),
            markLine: { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: soft() }, data: [{ xAxis: 0 }] } }] } : null,
      table: { head: [t("step"), t("policy"), t("treated"), t("holdout"), t("effect"), t("low"), t("high")],
        rows: rows.map(row => [name(row), row.policy_code, number(row.treated_count), number(row.holdout_count),
          ...[row.lift_pct, row.lift_low_pct, row.lift_high_pct].map(points)]) },
    };
  } },
  promises: { mart: "kpi_promises", of: "promises", make() {
    const months = byMonth("promises", "promise_count", "kept_count", "promised_amount", "kept_amount");
    return {
      answer: t("promisesAnswer")(percent(total(months, "kept_count"), total(months, "promise_count"))),
      option: monthlyBars(months, { promised: "promise_count", kept: "kept_count" }),
      table: { head: [t("month"), t("promised"), t("kept"), t("share"), t("promisedAmount"), t("keptAmount")],
        rows: months.map(one => [monthText(one.month), number(one.promise_count), number(one.kept_count), percent(one.kept_count, one.promise_count),
          money(one.promised_amount, false), money(one.kept_amount, false)]) },
    };
  } },
  agreements: { mart: "kpi_agreements", of: "agreements", make() {
    const months = byMonth("agreements", "agreement_count", "broken_count", "covered_amount", "broken_amount");
    return {
      answer: t("agreementsAnswer")(percent(total(months, "broken_count"), total(months, "agreement_count"))),
      option: monthlyBars(months, { agreed: "agreement_count", broken: "broken_count" }),
      table: { head: [t("month"), t("agreed"), t("broken"), t("share"), t("coveredAmount"), t("brokenAmount")],
        rows: months.map(one => [monthText(one.month), number(one.agreement_count), number(one.broken_count), percent(one.broken_count, one.agreement_count),
          money(one.covered_amount, false), money(one.broken_amount, false)]) },
    };
  } },
  forecast: { mart: "kpi_cash_forecast", of: "forecast", make() {
    const rows = chosen("forecast"), error = rows.length ? rows[0].error_pct : null;
    const band = rows.map(row => row.high_amount === null ? null : row.high_amount - row.low_amount);
    return {
      answer: error === null ? "" : t("forecastAnswer")(percent(error, 100)),
      option: { ...base(), legend: { ...legend(), data: [t("expected2"), `${t("low")}–${t("high")}`] }, xAxis: { type: "category", data: rows.map(row => dayText(row.week_end_date)) }, yAxis: moneyAxis(),
        series: [{ type: "line", stack: "band", symbol: "none", lineStyle: { opacity: 0 }, data: rows.map(row => row.low_amount), tooltip: { show: false }, silent: true },
          { type: "line", stack: "band", symbol: "none", name: `${t("low")}–${t("high")}`, color: COLOURS[1], lineStyle: { opacity: 0 }, areaStyle: { opacity: 0.35 }, data: band, tooltip: { show: false } },
          { type: "line", name: t("expected2"), color: COLOURS[0], data: rows.map(row => row.expected_amount), symbolSize: 8 }] },
      table: { head: [t("week"), t("expected2"), t("low"), t("high")], rows: rows.map(row => [dayText(row.week_end_date), money(row.expected_amount, false), row.low_amount === null ? "–" : money(row.low_amount, false), row.high_amount === null ? "–" : money(row.high_amount, false)]) },
    };
  } },
  access: { mart: "kpi_trust", of: "trust", make() {
    const months = byMonth("trust", "suspension_count", "returned_count", "returned_7_count", "returned_days", "cancellation_proposed_count");
    const columns = { suspended: "suspension_count", returned: "returned_count", proposed: "cancellation_proposed_count" };
    return {
      answer: t("accessAnswer")(total(months, "suspension_count")), option: monthlyBars(months, columns),
      table: { head: [t("month"), t("suspended"), t("returned"), `≤ 7 ${t("days")}`, t("meanDays"), t("proposed")],
        rows: months.map(one => [monthText(one.month), linked(number(one.suspension_count), "suspensions", { month: one.month }), number(one.returned_count),
          number(one.returned_7_count), one.returned_count ? decimal(one.returned_days / one.returned_count) : "–", number(one.cancellation_proposed_count)]) },
    };
  } },
  churn: { mart: "kpi_churn", of: "churn", make() {
    const months = byMonth("churn", "active_count", "ended_count", "unpaid_count", "recovered_count");
    return {
      answer: t("churnAnswer")(percent(total(months, "unpaid_count") - total(months, "recovered_count"), total(months, "active_count"))),
      option: monthlyBars(months, { ended: "ended_count", endedUnpaid: "unpaid_count", recoveredContracts: "recovered_count" }),
      table: { head: [t("month"), t("active"), t("ended"), t("endedUnpaid"), t("recoveredContracts"), t("share")],
        rows: months.map(one => [monthText(one.month), number(one.active_count), number(one.ended_count), number(one.unpaid_count),
          number(one.recovered_count), percent(one.unpaid_count - one.recovered_count, one.active_count)]) },
    };
  } },
  trust: { mart: "kpi_trust", of: "trust", make() {
    const columns = ["contact_count", "unknown_count", "false_contact_count", "suspension_count", "false_suspension_count"];
    const months = byMonth("trust", ...columns), wrong = total(months, "false_contact_count") + total(months, "false_suspension_count");
    return {
      answer: t("trustAnswer")(wrong), bad: wrong > 0,
      option: monthlyBars(months, { falseContact: "false_contact_count", falseSuspension: "false_suspension_count" }),
      table: { head: [t("month"), t("contacts"), t("unknown"), t("falseContact"), t("suspended"), t("falseSuspension")],
        rows: months.map(({ month, ...one }) => [monthText(month), number(one.contact_count), number(one.unknown_count),
          linked(number(one.false_contact_count), "false_contacts", { month }), number(one.suspension_count),
          linked(number(one.false_suspension_count), "suspensions", { month })]) },
    };
  } },
  night: { mart: null, of: "gates", make() {
    const gates = TABLES.gates, isGreen = gates.length > 0 && total(gates, "red_count") === 0;
    return {
      answer: gates.length ? t("nightAnswer")(isGreen) : t("nothing"), bad: gates.length > 0 && !isGreen, option: null, isOpen: true,
      table: { head: [`${t("gate")} / ${t("feed")}`, t("ok"), t("red"), t("last"), t("age")],
        rows: [...gates.map(row => [row.gate, number(row.expectation_count - row.red_count), number(row.red_count), "", ""]),
          ...TABLES.feeds.map(row => [`${row.source}: ${row.file_set}`, "", "", dayText(row.last_load_at.slice(0, 10)), number(daysBetween(row.last_load_at, DATA.known_at))])] },
    };
  } },
  nights: { mart: "kpi_gates", of: "nights", make() {
    const rows = chosen("nights", "month_date"), red = rows.filter(row => row.red_night_count > 0);
    return {
      answer: t("nightsAnswer")(total(rows, "red_night_count")), bad: red.length > 0, option: null,
      table: { head: [t("month"), t("gate"), t("nightCount"), t("redNights"), t("redChecks")],
        rows: rows.map(row => [monthText(row.month_date), row.gate_code, number(row.night_count), number(row.red_night_count), number(row.red_expectation_count)]) },
    };
  } },
};

const agingCell = (day, code, text) => day === DATA.as_of ? linked(text, "invoices", { bucket: code }) : text;
// The bar of an interval, with its two ends.
function interval(_, api) {
  const [from, to] = [0, 1].map(place => api.coord([api.value(place), api.value(2)]));
  const stroke = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: COLOURS[0], lineWidth: 2 } });
  return { type: "group", children: [stroke(from[0], from[1], to[0], to[1]), ...[from, to].map(([x, y]) => stroke(x, y - 5, x, y + 5))] };
}

const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
const line = () => getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
const soft = () => getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
// The library's own greys are those of a light page.
const readable = option => {
  for (const axis of [option.xAxis, option.yAxis].flat()) {
    axis.axisLabel = { color: soft(), hideOverlap: true, ...axis.axisLabel };
    axis.axisLine = { lineStyle: { color: soft() }, ...axis.axisLine };
    axis.splitLine = { lineStyle: { color: line() }, ...axis.splitLine };
  }
  return option;
};
const legend = () => ({ top: 0, textStyle: { color: ink() }, type: "scroll" });
const tip = format => ({ trigger: "axis", confine: true, valueFormatter: value => value === null || value === undefined ? "–" : format(value) });
const moneyAxis = () => ({ type: "value", axisLabel: { formatter: value => money(value) } });
const base = () => ({
  color: COLOURS, animation: false, textStyle: { color: ink() }, aria: { enabled: true, decal: { show: true } },
  grid: { left: 70, right: 60, top: 40, bottom: 34 }, tooltip: tip(value => money(value)),
});
const isNarrow = () => innerWidth < 640;
const heat = (xs, ys, cells) => ({
  ...base(), aria: { enabled: true }, grid: { left: 84, right: 10, top: 10, bottom: isNarrow() ? 56 : 40 }, tooltip: { confine: true, formatter: part => `${ys[part.value[1]]} → ${xs[part.value[0]]}: ${percent(part.value[2], 1)}` },
  xAxis: { type: "category", data: xs, axisLabel: { interval: 0, fontSize: 11, color: ink(), rotate: isNarrow() ? 40 : 0 } }, yAxis: { type: "category", inverse: true, data: ys, axisLabel: { color: ink() } },
  visualMap: { show: false, min: 0, max: 1, dimension: 2, inRange: { color: ["#f0f6fc", "#9ecae1", "#3182bd", "#08306b"] } },
  series: [{ type: "heatmap", data: cells.map(cell => ({ value: cell, label: { color: cell[2] > 0.45 ? "#ffffff" : "#10151c" } })), label: { show: true, fontSize: 11, formatter: part => percent(part.value[2], 1) }, itemStyle: { borderColor: line(), borderWidth: 1 } }],
});

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const contentOf = cell => cell.href ? element("a", { href: cell.href, target: "_blank", rel: "noopener" }, cell.text) : cell;
function tableOf({ head, rows }, caption) {
  const made = element("table");
  made.append(element("caption", { class: "skip" }, caption));
  made.append(element("thead", {}, element("tr", {}, ...head.map(text => element("th", { scope: "col" }, text)))));
  made.append(element("tbody", {}, ...rows.map(row => element("tr", {}, ...row.map((cell, place) => place ? element("td", {}, contentOf(cell)) : element("th", { scope: "row" }, contentOf(cell)))))));
  return made;
}
function definitionOf(mart) {
  const { description, columns } = DATA.definitions[language][mart];
  return element("div", {}, element("p", {}, element("code", {}, mart), ": ", description),
    element("dl", {}, ...Object.entries(columns).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])));
}
function tile(name, value, note, kind = "") {
  return element("div", { class: "tile" }, element("div", { class: "name" }, name), element("div", { class: `value ${kind}` }, value), element("div", { class: "note" }, note));
}

// The only thing told by the reader's own clock: how old what they look at is.
function nightTile() {
  const red = total(TABLES.gates, "red_count"), age = daysBetween(DATA.as_of, new Date().toISOString());
  const value = TABLES.gates.length ? (red ? t("someRed")(number(red)) : t("allGreen")) : t("notTold");
  return tile(t("night"), value, `${t("dataOf")} ${dayText(DATA.as_of)}${age > 1 ? `, ${t("ago")(number(age))}` : ""}`, red ? "bad" : TABLES.gates.length ? "good" : "");
}

function drawTiles() {
  const rows = chosen("balances"), now = rows.filter(row => row.day_date === DATA.as_of);
  const earlier = unique(rows, "day_date").filter(day => day < DATA.as_of).slice(-4)[0], then = rows.filter(row => row.day_date === earlier);
  const flows = chosen("flows").filter(row => row.month_date === `${DATA.as_of.slice(0, 7)}-01`), ahead = chosen("forecast").filter(row => row.week_number <= 4);
  const open = total(now, "open_amount"), overdue = total(now, "overdue_amount"), small = total(now, "small_delay_amount"), old = total(now, "overdue_over_90_amount");
  const rate = total(now, "billed_due_amount") ? overdue / total(now, "billed_due_amount") : 0, rateBefore = total(then, "billed_due_amount") ? total(then, "overdue_amount") / total(then, "billed_due_amount") : 0;
  const expected = total(ahead, "expected_amount");
  document.getElementById("tiles").replaceChildren(
    tile(t("open"), money(open), `${number(total(now, "open_count"))} ${t("invoices")}`),
    tile(t("overdue"), money(overdue), `${percent(overdue, open)} ${t("ofOpen")}`),
    tile(t("small"), money(small), `${percent(small, overdue)} ${t("ofOverdue")}`),
    tile(t("over90"), money(old), `${percent(old, overdue)} ${t("ofOverdue")}`),
    tile(t("delinquency"), percent(rate, 1), `${percent(rateBefore, 1)} ${t("before")}`, rate > rateBefore ? "bad" : "good"),
    tile(t("recovered"), money(total(flows, "recovered_amount")), `${money(total(flows, "new_overdue_amount"))} ${t("newOverdue")}`),
    tile(t("expected"), money(expected), [ahead.some(row => row.low_amount === null) ? "" : t("band")(money(total(ahead, "low_amount")), money(total(ahead, "high_amount"))),
      unfiltered("forecast") && t("wholePortfolio")].filter(Boolean).join(", ")),
    nightTile(),
  );
  const shown = [rate, rateBefore].map(value => percent(value, 1));
  document.getElementById("headline").textContent = t("headline")({ day: dayText(DATA.as_of), open: money(open), overdue: money(overdue), share: percent(overdue, open),
    small: money(small), rate: shown[0], rateBefore: shown[1], trend: shown[0] === shown[1] ? t("same") : rate > rateBefore ? t("up") : t("down"), expected: money(expected) });
}

// What the reader sees is drawn at once and the rest card by card, so that a filter answers at once.
let drawing = 0;
function drawCharts() {
  const turn = ++drawing, later = [];
  document.documentElement.dataset.drawn = "no";
  for (const name of Object.keys(CHARTS)) {
    const box = document.getElementById(`card-${name}`).getBoundingClientRect();
    if (box.top < innerHeight && box.bottom > 0) drawChart(name);
    else later.push(name);
  }
  const next = () => {
    if (turn !== drawing) return;
    if (!later.length) { document.documentElement.dataset.drawn = "yes"; return; }
    drawChart(later.shift());
    setTimeout(next);
  };
  setTimeout(next);
}
// Says which of the filters in use the numbers cannot follow.
function unfiltered(table) {
  const names = ["segment", "policy", "channel"].filter(name => state[name] && !DATA.tables[table].columns.includes(`${name}_code`));
  return names.length ? t("unfiltered")(names.map(name => t(name).toLocaleLowerCase(language)).join(t("and"))) : "";
}
function drawChart(name) {
  const chart = CHARTS[name], card = document.getElementById(`card-${name}`), made = chart.make();
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
  document.getElementById("charts").replaceChildren(...Object.entries(CHARTS).map(([name, chart]) => {
    const card = element("section", { class: "card", id: `card-${name}`, "aria-labelledby": `name-${name}` },
      element("h2", { id: `name-${name}` }), element("p", { class: "answer" }), element("div", { class: "plot", role: "img" }),
      element("details", {}, element("summary"), element("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": `name-${name}` })));
    if (chart.mart) card.append(element("details"));
    return card;
  }));
}

function fill(id, options) {
  const select = document.getElementById(id);
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  select.value = state[id] ?? "";
}
function label() {
  document.documentElement.lang = language;
  document.documentElement.dataset.theme = theme;
  document.querySelectorAll("[data-text]").forEach(one => { one.textContent = t(one.dataset.text); });
  document.getElementById("filters").setAttribute("aria-label", t("filters"));
  document.getElementById("tiles").setAttribute("aria-label", t("tiles"));
  document.getElementById("language").textContent = t("other");
  document.getElementById("theme").textContent = t(theme === "dark" ? "light" : "dark");
  const lists = document.getElementById("lists");
  lists.hidden = !DATA.lists;
  if (DATA.lists) lists.href = `${DATA.lists}debtors?lang=${language}`;
  lists.textContent = t("lists");
  document.getElementById("foot").textContent = t("foot")(dayText(DATA.as_of), DATA.known_at.slice(0, 19));
  const any = [["", t("all")]], named = code => [code, code === "none" ? t("none") : code];
  fill("period", ["3", "6", "12"].map(months => [months, t("months")(months)]));
  fill("currency", unique(TABLES.balances, "currency_code").map(code => [code, code]));
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
document.getElementById("filters").addEventListener("change", event => { state[event.target.id] = event.target.value; drawTiles(); drawCharts(); });
document.getElementById("language").addEventListener("click", () => { language = language === "en" ? "pt-BR" : "en"; STORED.set("regua-language", language); draw(); });
document.getElementById("theme").addEventListener("click", () => { theme = theme === "dark" ? "light" : "dark"; STORED.set("regua-theme", theme); draw(); });
addEventListener("resize", () => plots.forEach(plot => plot.resize()));
draw();
