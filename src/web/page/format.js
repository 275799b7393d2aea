"use strict";

// Numbers and elements. Text from outside only ever becomes text nodes.

const KIB = 1024;
const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** A number as people read it: three digits that matter. */
function brief(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  // The prefix of the rounded number: 999,999 is 1.00 M.
  const rounded = Math.abs(Number(value.toPrecision(3)));
  if (rounded >= 1e4) {
    const prefix = PREFIXES.find(([factor]) => rounded >= factor);
    const digits = Number(value.toPrecision(3)) / prefix[0];
    return (Math.abs(digits) >= 1000 ? digits.toExponential(2) : digits.toPrecision(3)) + " " + prefix[1];
  }
  if (Number.isInteger(value)) return String(value);
  if (size >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(size < 1 ? 2 : 3)));
}

const format = {
  number: brief,
  rate: (value) => brief(value) + "/s",
  percent: (value) => (value === null || value === undefined ? "–" : brief(value * 100) + " %"),
  time: (value) => {
    if (value === null || value === undefined) return "–";
    if (value < 0.001) return brief(value * 1e6) + " µs";
    return value < 1 ? brief(value * 1e3) + " ms" : brief(value) + " s";
  },
};

/** A new element with text and children. */
function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString(undefined, { hour12: false });
}

/** The growth of a counter per second between cycles; null across a gap or a reset. */
function rates(times, values) {
  return values.map((value, at) => {
    const before = at > 0 ? values[at - 1] : null;
    const took = at > 0 ? times[at] - times[at - 1] : 0;
    if (value === null || before === null || value < before || took <= 0) return null;
    return (value - before) / took;
  });
}

/** By how much a series has grown in all, resets left out; null without two values, unless it began at 0 meanwhile. */
function growth(series) {
  let grown = null;
  let before = null;
  for (const value of series.values) {
    if (value === null) continue;
    if (before !== null && value >= before) grown = (grown || 0) + value - before;
    else if (before === null && series.from_zero) grown = value;
    before = value;
  }
  return grown;
}

/** The sums of several lists, value by value; null where all are. */
function sums(lists) {
  if (lists.length === 0) return null;
  return lists[0].map((_, at) => {
    const known = lists.map((list) => list[at]).filter((value) => value !== null);
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
  });
}

function newest(values) {
  return values && values.length > 0 ? values[values.length - 1] : null;
}
