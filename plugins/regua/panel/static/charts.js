"use strict";
// The charts: what each adds up, says and draws.

// Okabe and Ito: told apart by whoever sees colours in another way; patterns tell them apart for whoever sees none.
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"];
const BUCKETS = ["current", "1-30", "31-60", "61-90", "90+"];

// Bars side by side for each month; nothing to draw where all of them are zero.
function monthlyBars(months, columns) {
  if (!months.some(one => Object.values(columns).some(column => one[column]))) return null;
  return {
    ...base(),
    legend: legend(),
    tooltip: tip(number),
    xAxis: { type: "category", data: months.map(one => monthText(one.month)) },
    yAxis: { type: "value", minInterval: 1 },
    series: Object.entries(columns).map(([name, column]) => ({
      type: "bar",
      name: t(name),
      data: months.map(one => one[column]),
    })),
  };
}

// Charts: each gives an answer in words, an option to draw (or none), and a table; `of` names the rows it adds up.
const CHARTS = {
  aging: {
    mart: "kpi_aging",
    of: "aging",
    make() {
      const rows = chosen("aging", "day_date"),
        days = unique(rows, "day_date"),
        byDay = grouped(rows, "day_date");
      const amount = (day, code) =>
        total(
          (byDay.get(day) || []).filter(row => row.aging_bucket_code === code),
          "open_amount",
        );
      const shareOf = day => {
        const all = byDay.get(day) || [];
        return percent(
          total(
            all.filter(row => row.aging_bucket_code !== "current"),
            "open_amount",
          ),
          total(all, "open_amount"),
        );
      };
      return {
        answer: days.length ? `${t("agingAnswer")(shareOf(days.at(-1)), days.length - 1)} ${shareOf(days[0])}.` : "",
        option: {
          ...base(),
          legend: legend(),
          xAxis: { type: "category", data: days.map(dayText) },
          yAxis: moneyAxis(),
          series: BUCKETS.map(code => ({
            name: bucketText(code),
            type: "bar",
            stack: "all",
            barCategoryGap: "10%",
            data: days.map(day => amount(day, code)),
          })),
        },
        table: {
          head: [t("week"), ...BUCKETS.map(bucketText)],
          rows: days.map(day => [
            dayText(day),
            ...BUCKETS.map(code => agingCell(day, code, money(amount(day, code), false))),
          ]),
        },
      };
    },
  },
  curve: {
    mart: "kpi_recovery_cohorts",
    of: "cohorts",
    make() {
      const rows = chosen("cohorts", "cohort_month"),
        horizons = unique(rows, "horizon_days").sort((a, b) => a - b);
      const share = days => {
        const of = rows.filter(row => row.horizon_days === days);
        const all = total(of, "observed_amount");
        return all ? total(of, "recovered_amount") / all : null;
      };
      return {
        answer: share(30) === null ? "" : t("curveAnswer")(percent(share(30), 1)),
        option: {
          ...base(),
          xAxis: { type: "category", data: horizons.map(days => `${days} ${t("days")}`) },
          yAxis: { type: "value", max: 1, axisLabel: { formatter: value => percent(value, 1) } },
          tooltip: tip(value => percent(value, 1)),
          series: [
            {
              type: "line",
              data: horizons.map(share),
              symbolSize: 9,
              label: { show: true, formatter: part => percent(part.value, 1), color: ink() },
              name: t("curve"),
            },
          ],
        },
        table: {
          head: [t("days"), t("share")],
          rows: horizons.map(days => [number(days), share(days) === null ? "–" : percent(share(days), 1)]),
        },
      };
    },
  },
  cohorts: {
    mart: "kpi_recovery_cohorts",
    of: "cohorts",
    make() {
      const rows = chosen("cohorts", "cohort_month"),
        months = unique(rows, "cohort_month"),
        horizons = unique(rows, "horizon_days").sort((a, b) => a - b);
      const cells = [];
      months.forEach((month, y) =>
        horizons.forEach((days, x) => {
          const of = rows.filter(row => row.cohort_month === month && row.horizon_days === days),
            all = total(of, "observed_amount");
          if (all) cells.push([x, y, total(of, "recovered_amount") / all]);
        }),
      );
      return {
        answer: t("cohortsAnswer"),
        tall: true,
        option: heat(
          horizons.map(days => `${days} ${t("days")}`),
          months.map(monthText),
          cells,
        ),
        table: {
          head: [t("month"), t("overdue"), ...horizons.map(days => `${days} ${t("days")}`)],
          rows: months.map((month, y) => [
            linked(monthText(month), "invoices", { month }),
            money(
              total(
                rows.filter(row => row.cohort_month === month && row.horizon_days === horizons[0]),
                "overdue_amount",
              ),
              false,
            ),
            ...horizons.map((days, x) => {
              const cell = cells.find(one => one[0] === x && one[1] === y);
              return cell ? linked(percent(cell[2], 1), "cohort", { month, days }) : "–";
            }),
          ]),
        },
      };
    },
  },
  rolls: {
    mart: "kpi_roll_rates",
    of: "rolls",
    make() {
      const rows = chosen("rolls", "month_date"),
        targets = [...BUCKETS, "paid", "removed"],
        cells = [];
      BUCKETS.forEach((from, y) => {
        const of = rows.filter(row => row.from_code === from),
          all = total(of, "amount");
        targets.forEach((to, x) => {
          const part = total(
            of.filter(row => row.to_code === to),
            "amount",
          );
          if (all && part) cells.push([x, y, part / all]);
        });
      });
      const paid = cells.find(cell => cell[0] === targets.indexOf("paid") && cell[1] === 1);
      return {
        answer: paid ? t("rollsAnswer")(percent(paid[2], 1)) : "",
        option: heat(targets.map(bucketText), BUCKETS.map(bucketText), cells),
        table: {
          head: [`${t("from")} \\ ${t("to")}`, ...targets.map(bucketText)],
          rows: BUCKETS.map((from, y) => [
            bucketText(from),
            ...targets.map((_, x) => {
              const cell = cells.find(one => one[0] === x && one[1] === y);
              return cell ? percent(cell[2], 1) : "–";
            }),
          ]),
        },
      };
    },
  },
  funnel: {
    mart: "kpi_step_performance",
    of: "steps",
    make() {
      const rows = chosen("steps", "month_date"),
        stages = ["planned", "accepted", "delivered", "credited"];
      const counts = stages.map(stage => total(rows, `${stage}_count`));
      return {
        answer: counts[2] ? t("funnelAnswer")(percent(counts[3], counts[2])) : "",
        option: {
          ...base(),
          grid: { ...base().grid, left: 110 },
          xAxis: { type: "value", axisLabel: { formatter: number } },
          yAxis: { type: "category", inverse: true, data: stages.map(t) },
          tooltip: tip(number),
          series: [
            {
              type: "bar",
              data: counts,
              label: {
                show: true,
                position: "insideLeft",
                formatter: part => number(part.value),
                color: "#000",
                backgroundColor: "#ffffffcc",
                padding: 3,
                borderRadius: 3,
              },
              name: t("funnel"),
            },
          ],
        },
        table: {
          head: [t("step"), t("invoices"), t("share")],
          rows: stages.map((stage, place) => [t(stage), number(counts[place]), percent(counts[place], counts[0])]),
        },
      };
    },
  },
  steps: {
    mart: "kpi_step_performance",
    of: "steps",
    make() {
      const rows = chosen("steps", "month_date"),
        first = unique(rows, "month_date")[0];
      const steps = [...grouped(rows, "step_code")]
        .map(([step, of]) => ({
          step,
          planned: total(of, "planned_count"),
          delivered: total(of, "delivered_count"),
          credited: total(of, "credited_count"),
          amount: total(of, "credited_amount"),
          accepted: total(of, "accepted_count"),
        }))
        .sort((a, b) => b.amount - a.amount || a.step.localeCompare(b.step));
      const largest = steps.slice(0, 10);
      return {
        answer: t("stepsAnswer"),
        option: {
          ...base(),
          grid: { ...base().grid, left: 150, right: 100 },
          xAxis: { ...moneyAxis(), splitNumber: 3 },
          yAxis: {
            type: "category",
            inverse: true,
            data: largest.map(one => one.step),
            axisLabel: { interval: 0, fontSize: 11 },
          },
          series: [
            {
              type: "bar",
              name: t("amount"),
              data: largest.map(one => one.amount),
              label: {
                show: true,
                position: "right",
                color: ink(),
                formatter: part => `${number(largest[part.dataIndex].delivered)} ${t("sent")}`,
              },
            },
          ],
        },
        table: {
          head: [t("step"), t("planned"), t("accepted"), t("delivered"), t("credited"), t("amount")],
          rows: steps.map(one => [
            one.step,
            linked(number(one.planned), "contacts", { step: one.step, channel: state.channel, since: first }),
            number(one.accepted),
            number(one.delivered),
            number(one.credited),
            money(one.amount, false),
          ]),
        },
      };
    },
  },
  channels: {
    mart: "kpi_channel_performance",
    of: "steps",
    make() {
      const rows = chosen("steps", "month_date"),
        first = unique(rows, "month_date")[0];
      const channels = [...grouped(rows, "channel_code")]
        .map(([channel, of]) => ({
          channel,
          planned: total(of, "planned_count"),
          accepted: total(of, "accepted_count"),
          delivered: total(of, "delivered_count"),
          bounced: total(of, "bounced_count"),
          amount: total(of, "credited_amount"),
        }))
        .sort((a, b) => b.delivered - a.delivered);
      return {
        answer: t("channelsAnswer"),
        option: {
          ...base(),
          legend: legend(),
          tooltip: { trigger: "axis", confine: true },
          xAxis: { type: "category", data: channels.map(one => channelText(one.channel)) },
          yAxis: [
            { type: "value", axisLabel: { formatter: number } },
            { ...moneyAxis(), splitLine: { show: false } },
          ],
          series: [
            { type: "bar", name: t("delivered"), data: channels.map(one => one.delivered) },
            {
              type: "scatter",
              name: t("amount"),
              yAxisIndex: 1,
              symbol: "diamond",
              symbolSize: 16,
              data: channels.map(one => one.amount),
              tooltip: { valueFormatter: value => money(value) },
            },
          ],
        },
        table: {
          head: [t("channel"), t("planned"), t("accepted"), t("delivered"), t("share"), t("amount")],
          rows: channels.map(one => [
            channelText(one.channel),
            linked(number(one.planned), "contacts", { channel: one.channel, since: first }),
            number(one.accepted),
            number(one.delivered),
            percent(one.delivered, one.accepted),
            money(one.amount, false),
          ]),
        },
      };
    },
  },
  forecast: {
    mart: "kpi_cash_forecast",
    of: "forecast",
    make() {
      const rows = chosen("forecast"),
        error = rows.length ? rows[0].error_pct : null;
      const band = rows.map(row => (row.high_amount === null ? null : row.high_amount - row.low_amount));
      return {
        answer: error === null ? "" : t("forecastAnswer")(percent(error, 100)),
        option: {
          ...base(),
          legend: { ...legend(), data: [t("expected2"), `${t("low")}–${t("high")}`] },
          xAxis: { type: "category", data: rows.map(row => dayText(row.week_end_date)) },
          yAxis: moneyAxis(),
          series: [
            {
              type: "line",
              stack: "band",
              symbol: "none",
              lineStyle: { opacity: 0 },
              data: rows.map(row => row.low_amount),
              tooltip: { show: false },
              silent: true,
            },
            {
              type: "line",
              stack: "band",
              symbol: "none",
              name: `${t("low")}–${t("high")}`,
              color: COLOURS[1],
              lineStyle: { opacity: 0 },
              areaStyle: { opacity: 0.35 },
              data: band,
              tooltip: { show: false },
            },
            {
              type: "line",
              name: t("expected2"),
              color: COLOURS[0],
              data: rows.map(row => row.expected_amount),
              symbolSize: 8,
            },
          ],
        },
        table: {
          head: [t("week"), t("expected2"), t("low"), t("high")],
          rows: rows.map(row => [
            dayText(row.week_end_date),
            money(row.expected_amount, false),
            row.low_amount === null ? "–" : money(row.low_amount, false),
            row.high_amount === null ? "–" : money(row.high_amount, false),
          ]),
        },
      };
    },
  },
  access: {
    mart: "kpi_trust",
    of: "trust",
    make() {
      const months = byMonth(
        "trust",
        "suspension_count",
        "returned_count",
        "returned_7_count",
        "returned_days",
        "cancellation_proposed_count",
      );
      const columns = {
        suspended: "suspension_count",
        returned: "returned_count",
        proposed: "cancellation_proposed_count",
      };
      return {
        answer: t("accessAnswer")(total(months, "suspension_count")),
        option: monthlyBars(months, columns),
        table: {
          head: [t("month"), t("suspended"), t("returned"), `≤ 7 ${t("days")}`, t("meanDays"), t("proposed")],
          rows: months.map(one => [
            monthText(one.month),
            linked(number(one.suspension_count), "suspensions", { month: one.month }),
            number(one.returned_count),
            number(one.returned_7_count),
            one.returned_count ? decimal(one.returned_days / one.returned_count) : "–",
            number(one.cancellation_proposed_count),
          ]),
        },
      };
    },
  },
  trust: {
    mart: "kpi_trust",
    of: "trust",
    make() {
      const columns = [
        "contact_count",
        "unknown_count",
        "false_contact_count",
        "suspension_count",
        "false_suspension_count",
      ];
      const months = byMonth("trust", ...columns),
        wrong = total(months, "false_contact_count") + total(months, "false_suspension_count");
      return {
        answer: t("trustAnswer")(wrong),
        bad: wrong > 0,
        option: monthlyBars(months, { falseContact: "false_contact_count", falseSuspension: "false_suspension_count" }),
        table: {
          head: [t("month"), t("contacts"), t("unknown"), t("falseContact"), t("suspended"), t("falseSuspension")],
          rows: months.map(({ month, ...one }) => [
            monthText(month),
            number(one.contact_count),
            number(one.unknown_count),
            linked(number(one.false_contact_count), "false_contacts", { month }),
            number(one.suspension_count),
            linked(number(one.false_suspension_count), "suspensions", { month }),
          ]),
        },
      };
    },
  },
  churn: {
    mart: "kpi_churn",
    of: "churn",
    make() {
      const months = byMonth("churn", "active_count", "ended_count", "unpaid_count", "recovered_count");
      return {
        answer: t("churnAnswer")(
          percent(total(months, "unpaid_count") - total(months, "recovered_count"), total(months, "active_count")),
        ),
        option: monthlyBars(months, {
          ended: "ended_count",
          endedUnpaid: "unpaid_count",
          recoveredContracts: "recovered_count",
        }),
        table: {
          head: [t("month"), t("active"), t("ended"), t("endedUnpaid"), t("recoveredContracts"), t("share")],
          rows: months.map(one => [
            monthText(one.month),
            number(one.active_count),
            linked(number(one.ended_count), "contracts", { month: one.month }),
            number(one.unpaid_count),
            number(one.recovered_count),
            percent(one.unpaid_count - one.recovered_count, one.active_count),
          ]),
        },
      };
    },
  },
  promises: {
    mart: "kpi_promises",
    of: "promises",
    make() {
      const months = byMonth("promises", "promise_count", "kept_count", "promised_amount", "kept_amount");
      return {
        answer: t("promisesAnswer")(percent(total(months, "kept_count"), total(months, "promise_count"))),
        option: monthlyBars(months, { promised: "promise_count", kept: "kept_count" }),
        table: {
          head: [t("month"), t("promised"), t("kept"), t("share"), t("promisedAmount"), t("keptAmount")],
          rows: months.map(one => [
            monthText(one.month),
            linked(number(one.promise_count), "promises", { month: one.month }),
            number(one.kept_count),
            percent(one.kept_count, one.promise_count),
            money(one.promised_amount, false),
            money(one.kept_amount, false),
          ]),
        },
      };
    },
  },
  agreements: {
    mart: "kpi_agreements",
    of: "agreements",
    make() {
      const months = byMonth("agreements", "agreement_count", "broken_count", "covered_amount", "broken_amount");
      return {
        answer: t("agreementsAnswer")(percent(total(months, "broken_count"), total(months, "agreement_count"))),
        option: monthlyBars(months, { agreed: "agreement_count", broken: "broken_count" }),
        table: {
          head: [t("month"), t("agreed"), t("broken"), t("share"), t("coveredAmount"), t("brokenAmount")],
          rows: months.map(one => [
            monthText(one.month),
            linked(number(one.agreement_count), "agreements", { month: one.month }),
            number(one.broken_count),
            percent(one.broken_count, one.agreement_count),
            money(one.covered_amount, false),
            money(one.broken_amount, false),
          ]),
        },
      };
    },
  },
  experiments: {
    mart: "kpi_experiments",
    of: "experiments",
    make() {
      const rows = chosen("experiments").filter(row => row.lift_pct !== null);
      const isTold = row => row.lift_low_pct > 0 || row.lift_high_pct < 0;
      const name = row => `${row.step_code} · ${channelText(row.channel_code)}`,
        points = value => `${decimal(value)} ${t("points")}`;
      return {
        answer: t("experimentsAnswer")(number(rows.filter(isTold).length), number(rows.length)),
        option: rows.length
          ? {
              ...base(),
              grid: { ...base().grid, left: 150 },
              xAxis: { type: "value", axisLabel: { formatter: points } },
              yAxis: {
                type: "category",
                inverse: true,
                data: rows.map(name),
                axisLabel: { interval: 0, fontSize: 11 },
              },
              tooltip: {
                confine: true,
                formatter: ({ dataIndex }) => {
                  const row = rows[dataIndex];
                  return `${name(row)}: ${points(row.lift_pct)} (${points(row.lift_low_pct)} – ${points(row.lift_high_pct)})`;
                },
              },
              series: [
                {
                  type: "custom",
                  data: rows.map((row, place) => [row.lift_low_pct, row.lift_high_pct, place]),
                  encode: { x: [0, 1], y: 2 },
                  renderItem: interval,
                },
                {
                  type: "scatter",
                  name: t("effect"),
                  symbol: "diamond",
                  symbolSize: 14,
                  data: rows.map(row => row.lift_pct),
                  markLine: {
                    silent: true,
                    symbol: "none",
                    label: { show: false },
                    lineStyle: { color: soft() },
                    data: [{ xAxis: 0 }],
                  },
                },
              ],
            }
          : null,
        table: {
          head: [t("step"), t("policy"), t("treated"), t("holdout"), t("effect"), t("low"), t("high")],
          rows: rows.map(row => [
            name(row),
            row.policy_code,
            ...[row.treated_count, row.holdout_count].map(count =>
              linked(number(count), "experiments", {
                policy: row.policy_code,
                step: row.step_code,
                channel: row.channel_code,
              }),
            ),
            ...[row.lift_pct, row.lift_low_pct, row.lift_high_pct].map(points),
          ]),
        },
      };
    },
  },
  night: {
    mart: null,
    of: "gates",
    make() {
      const gates = TABLES.gates,
        isGreen = gates.length > 0 && total(gates, "red_count") === 0;
      return {
        answer: gates.length ? t("nightAnswer")(isGreen) : t("nothing"),
        bad: gates.length > 0 && !isGreen,
        option: null,
        isOpen: true,
        table: {
          head: [`${t("gate")} / ${t("feed")}`, t("ok"), t("red"), t("last"), t("age")],
          rows: [
            ...gates.map(row => [
              row.gate,
              number(row.expectation_count - row.red_count),
              number(row.red_count),
              "",
              "",
            ]),
            ...TABLES.feeds.map(row => [
              `${row.source}: ${row.file_set}`,
              "",
              "",
              dayText(row.last_load_at.slice(0, 10)),
              number(daysBetween(row.last_load_at, DATA.known_at)),
            ]),
          ],
        },
      };
    },
  },
  nights: {
    mart: "kpi_gates",
    of: "nights",
    make() {
      const rows = chosen("nights", "month_date"),
        red = rows.filter(row => row.red_night_count > 0);
      return {
        answer: t("nightsAnswer")(total(rows, "red_night_count")),
        bad: red.length > 0,
        option: null,
        table: {
          head: [t("month"), t("gate"), t("nightCount"), t("redNights"), t("redChecks")],
          rows: rows.map(row => [
            monthText(row.month_date),
            row.gate_code,
            number(row.night_count),
            number(row.red_night_count),
            number(row.red_expectation_count),
          ]),
        },
      };
    },
  },
};

const agingCell = (day, code, text) => (day === DATA.as_of ? linked(text, "invoices", { bucket: code }) : text);

// The bar of an interval, with its two ends.
function interval(_, api) {
  const [from, to] = [0, 1].map(place => api.coord([api.value(place), api.value(2)]));
  const stroke = (x1, y1, x2, y2) => ({
    type: "line",
    shape: { x1, y1, x2, y2 },
    style: { stroke: COLOURS[0], lineWidth: 2 },
  });
  return {
    type: "group",
    children: [stroke(from[0], from[1], to[0], to[1]), ...[from, to].map(([x, y]) => stroke(x, y - 5, x, y + 5))],
  };
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
const tip = format => ({
  trigger: "axis",
  confine: true,
  valueFormatter: value => (value === null || value === undefined ? "–" : format(value)),
});
const moneyAxis = () => ({ type: "value", axisLabel: { formatter: value => money(value) } });
const base = () => ({
  color: COLOURS,
  animation: false,
  textStyle: { color: ink() },
  aria: { enabled: true, decal: { show: true } },
  grid: { left: 70, right: 60, top: 40, bottom: 34 },
  tooltip: tip(value => money(value)),
});
const isNarrow = () => innerWidth < 640;
const heat = (xs, ys, cells) => ({
  ...base(),
  aria: { enabled: true },
  grid: { left: 84, right: 10, top: 10, bottom: isNarrow() ? 56 : 40 },
  tooltip: {
    confine: true,
    formatter: part => `${ys[part.value[1]]} → ${xs[part.value[0]]}: ${percent(part.value[2], 1)}`,
  },
  xAxis: {
    type: "category",
    data: xs,
    axisLabel: { interval: 0, fontSize: 11, color: ink(), rotate: isNarrow() ? 40 : 0 },
  },
  yAxis: { type: "category", inverse: true, data: ys, axisLabel: { color: ink() } },
  visualMap: {
    show: false,
    min: 0,
    max: 1,
    dimension: 2,
    inRange: { color: ["#f0f6fc", "#9ecae1", "#3182bd", "#08306b"] },
  },
  series: [
    {
      type: "heatmap",
      data: cells.map(cell => ({ value: cell, label: { color: cell[2] > 0.45 ? "#ffffff" : "#10151c" } })),
      label: { show: true, fontSize: 11, formatter: part => percent(part.value[2], 1) },
      itemStyle: { borderColor: line(), borderWidth: 1 },
    },
  ],
});
