'use strict';
/* The recording, as the scripts after this one use it.  Times are nanoseconds since its
   begin.  Nothing here touches the page. */

const DATA = JSON.parse(document.getElementById('recording').textContent);
const TEXTS = DATA.texts;
const END = DATA.end;

class Lane {
  constructor(fields, slices, instants) {
    [this.kind, this.loop, this.ident, this.name, this.title] = fields;
    const n = (this.count = slices.length / 6);
    this.start = new Float64Array(n);
    this.end = new Float64Array(n);
    this.depth = new Uint8Array(n);
    this.label = new Uint32Array(n);
    this.category = new Uint32Array(n);
    this.args = new Int32Array(n);
    this.depths = 1;
    for (let i = 0, at = 0; i < n; i++, at += 6) {
      this.start[i] = slices[at];
      this.end[i] = slices[at] + slices[at + 1];
      this.depth[i] = Math.min(slices[at + 2], 7);
      this.label[i] = slices[at + 3];
      this.category[i] = slices[at + 4];
      this.args[i] = slices[at + 5];
      this.depths = Math.max(this.depths, this.depth[i] + 1);
    }
    this.instants = [];
    for (let at = 0; at < instants.length; at += 4) {
      this.instants.push({
        lane: this,
        ts: instants[at],
        label: instants[at + 1],
        category: TEXTS[instants[at + 2]],
        args: instants[at + 3],
      });
    }
    const times = [this.start[0], this.instants[0] && this.instants[0].ts];
    this.first = Math.min(...times.filter((ts) => ts !== undefined));
    this.last = this.instants.length ? this.instants[this.instants.length - 1].ts : 0;
    for (let i = 0; i < n; i++) this.last = Math.max(this.last, this.end[i]);
  }

  /* Number of the first slice of a depth that ends after ts (depths are few). */
  after(ts) {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.start[middle] < ts) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/* One line for each counter, drawn as a curve. */
class Curve {
  constructor(kind, loop, flat) {
    this.kind = 'counter';
    this.counter = kind;
    this.loop = loop;
    this.name = { lag: 'lag', ready: 'ready tasks', timers: 'timers' }[kind] || kind;
    this.title = `loop ${loop}`;
    const points = [];
    for (let i = 0; i < flat.length; i += 2) points.push([flat[i], flat[i + 1]]);
    points.sort((a, b) => a[0] - b[0]);
    this.ts = Float64Array.from(points, (p) => p[0]);
    this.value = Float64Array.from(points, (p) => p[1]);
    this.count = points.length;
    this.max = this.value.reduce((a, b) => Math.max(a, b), 0);
    this.instants = [];
    this.depths = 1;
    this.first = 0;
  }

  show(value) {
    return this.counter === 'lag' ? duration(value) : String(value);
  }

  at(ts) {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ts[middle] <= ts) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/* --- words --- */

function duration(ns) {
  if (ns === null || ns === undefined) return '';
  const abs = Math.abs(ns);
  if (abs < 1e3) return `${Math.round(ns)} ns`;
  if (abs < 1e6) return `${trim(ns / 1e3)} µs`;
  if (abs < 1e9) return `${trim(ns / 1e6)} ms`;
  if (abs < 120e9) return `${trim(ns / 1e9)} s`;
  return `${trim(ns / 60e9)} min`;
}

function trim(value) {
  const digits = Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0;
  return value.toFixed(digits).replace(/\.0+$/, '').replace(/(\.\d*[1-9])0+$/, '$1');
}

/* A time in the recording, with as many digits as a step of `step` ns shows. */
function clock(ns, step = 1e3) {
  const digits = step >= 1e9 ? 0 : Math.min(9, Math.max(0, -Math.floor(Math.log10(step / 1e9) + 1e-9)));
  const whole = Math.floor(ns / 60e9);
  const seconds = (ns - whole * 60e9) / 1e9;
  if (!whole) return `${seconds.toFixed(digits)} s`;
  return `${whole}:${seconds.toFixed(digits).padStart(digits ? digits + 3 : 2, '0')}`;
}

const COUNTS = new Intl.NumberFormat('en-US');

function count(n) {
  return n < 1000 ? String(n) : COUNTS.format(n);
}

/* "key\tvalue" lines as pairs; a line that begins with a tab goes on. */
function pairs(args) {
  const found = [];
  if (args < 0) return found;
  for (const line of TEXTS[args].split('\n')) {
    if (line.startsWith('\t') && found.length) found[found.length - 1][1] += '\n' + line.slice(1);
    else found.push([line.slice(0, line.indexOf('\t')), line.slice(line.indexOf('\t') + 1)]);
  }
  return found;
}

/* --- lanes, tasks, arrows --- */

const MADE = DATA.lanes.map((fields, i) => new Lane(fields, DATA.slices[i], DATA.instants[i]));
const CURVES = DATA.counts.map(([kind, loop, flat]) => new Curve(kind, loop, flat));
const ORDER = { loop: 0, modal: 1, lag: 2, ready: 3, span: 4, task: 5, timers: 6 };
const order = (lane) => ORDER[lane.counter || lane.kind];
const LANES = [...MADE, ...CURVES].sort(
  (a, b) =>
    order(a) - order(b) ||
    (a.kind === 'task' ? a.first - b.first || a.ident - b.ident : a.loop - b.loop) ||
    (a.ident || 0) - (b.ident || 0)
);
const TASKS = new Map(DATA.tasks.map((task) => [task.id, task]));
const SLOTS = new Map(DATA.slots.map((slot) => [slot.id, slot]));
for (const task of DATA.tasks) task.track = task.lane >= 0 ? MADE[task.lane] : null;

const FLOWS = [];
for (let at = 0; at < DATA.flows.length; at += 4) {
  const [from, ts, to, until] = DATA.flows.slice(at, at + 4);
  FLOWS.push({ from: MADE[from], ts, to: MADE[to], until });
}
FLOWS.sort((a, b) => a.ts - b.ts);

/* Where in a lane a time lies: the innermost slice around it. */
function sliceAt(lane, ts) {
  let found = -1;
  for (let i = Math.min(lane.after(ts + 1e-6), lane.count) - 1, n = 0; i >= 0 && n < 4096; i--, n++) {
    if (lane.end[i] >= ts && lane.start[i] <= ts) {
      found = i;
      break;
    }
    if (lane.depth[i] === 0) break;
  }
  return found;
}

/* --- totals --- */

const TOTALS = { steps: 0, maxStep: 0, maxLane: null, maxIndex: -1, asyncio: 0, qt: 0, idle: 0, span: END };
for (const lane of MADE) {
  for (let i = 0; i < lane.count; i++) {
    const category = TEXTS[lane.category[i]];
    const took = lane.end[i] - lane.start[i];
    if (lane.kind === 'task' && category === 'run') {
      TOTALS.steps++;
      if (took > TOTALS.maxStep) Object.assign(TOTALS, { maxStep: took, maxLane: lane, maxIndex: i });
    } else if (lane.kind === 'loop' && category in TOTALS) {
      TOTALS[category] += took;
    }
  }
}
TOTALS.lag99 = (() => {
  const values = CURVES.filter((c) => c.counter === 'lag').flatMap((c) => Array.from(c.value));
  values.sort((a, b) => a - b);
  return values.length ? values[Math.min(values.length - 1, Math.floor(values.length * 0.99))] : null;
})();
