'use strict';
/* Tables of which only the rows in view exist, with columns that sort and a search that
   filters. */

const LINE = 26; // height of a row, as in the style sheet

/* A column: title, width, value of a row (to sort by), text of it. */
function column(title, width, value, options = {}) {
  return {
    title,
    width,
    value,
    text: options.text || ((row) => String(value(row) ?? '')),
    number: Boolean(options.number),
    badge: Boolean(options.badge),
    code: Boolean(options.code),
  };
}

const time = (title, value) =>
  column(title, '92px', value, { number: true, text: (row) => (value(row) === null || value(row) === undefined ? '' : clock(value(row), 1e5)) });
const took = (title, value) =>
  column(title, '84px', value, { number: true, text: (row) => (value(row) ? duration(value(row)) : '') });
const number = (title, value, width = '64px') =>
  column(title, width, value, { number: true, text: (row) => (value(row) ? count(value(row)) : '') });

const TABLES = {
  tasks: {
    title: 'Tasks',
    rows: DATA.tasks,
    empty: 'No task ran.',
    columns: [
      column('id', '56px', (t) => t.id, { number: true }),
      column('name', 'minmax(110px, 1.3fr)', (t) => t.name),
      column('state', '92px', (t) => t.state, { badge: true }),
      column('code', 'minmax(130px, 1.6fr)', (t) => t.code, { code: true }),
      time('created', (t) => t.created),
      took('busy', (t) => t.busy),
      took('longest', (t) => t.max),
      took('ready', (t) => t.ready),
      took('waited', (t) => t.waited),
      number('steps', (t) => t.steps),
      column('waits for / failed with', 'minmax(120px, 1.3fr)', (t) => t.waits_for || t.exception),
      column('slot', 'minmax(80px, .8fr)', (t) => t.slot_name),
    ],
    choice: (task) => ({ task }),
  },
  slots: {
    title: 'Slots',
    rows: DATA.slots,
    empty: 'No asyncslot was called.',
    columns: [
      column('id', '56px', (s) => s.id, { number: true }),
      column('name', 'minmax(140px, 1.4fr)', (s) => s.name),
      column('code', 'minmax(140px, 1.6fr)', (s) => s.code, { code: true }),
      column('receiver', 'minmax(100px, 1fr)', (s) => s.receiver),
      number('calls', (s) => s.calls),
      number('pending', (s) => s.live, '74px'),
      number('at once', (s) => s.most, '74px'),
      number('refused', (s) => s.refused, '74px'),
      number('failed', (s) => s.failed),
      took('longest', (s) => s.max),
      took('in all', (s) => s.total),
      column('overlap', '74px', (s) => s.policy),
    ],
    choice: (slot) => ({ slot }),
  },
  waits: {
    title: 'Signal waits',
    rows: DATA.waits,
    empty: 'Nothing waited for a signal.',
    columns: [
      column('id', '56px', (w) => w.id, { number: true }),
      column('signal', 'minmax(100px, 1fr)', (w) => w.signal),
      column('sender', 'minmax(120px, 1.2fr)', (w) => w.sender + (w.alive ? '' : ' (destroyed)')),
      column('form', '92px', (w) => w.form),
      column('task', 'minmax(110px, 1fr)', (w) => taskName(w.task)),
      time('since', (w) => w.since),
      time('until', (w) => w.ended),
      took('took', (w) => (w.ended === null ? null : w.ended - (w.since || 0))),
      number('fired', (w) => w.fired),
      column('end', '100px', (w) => w.how.replace('_', ' '), { badge: true }),
    ],
    choice: (wait) => ({ wait }),
  },
  steps: {
    title: 'Longest steps',
    rows: longestSteps(500),
    empty: 'No step ran.',
    columns: [
      column('took', '92px', (s) => s.took, { number: true, text: (s) => duration(s.took) }),
      time('at', (s) => s.ts),
      column('task', 'minmax(140px, 1fr)', (s) => s.lane.name),
      column('code', 'minmax(160px, 1.6fr)', (s) => s.lane.title, { code: true }),
    ],
    sort: { column: 0, down: true },
    choice: (step) => ({ lane: step.lane, index: step.index }),
  },
  findings: {
    title: 'Findings',
    rows: DATA.findings,
    empty: 'No stall and no lint was found.',
    columns: [
      time('at', (f) => f.ts),
      column('severity', '74px', (f) => f.severity || '', { badge: true }),
      column('what', 'minmax(220px, 2fr)', (f) => f.text),
      column('concerns', 'minmax(120px, 1fr)', (f) => f.concerns || ''),
    ],
    choice: (finding) => ({ finding }),
  },
  events: {
    title: 'Events',
    rows: eventRows(),
    empty: 'No event was recorded.',
    columns: [
      column('at', '118px', (e) => DATA.events[e], { number: true, text: (e) => clock(DATA.events[e], 1e3) }),
      column('event', '150px', (e) => DATA.kinds[DATA.events[e + 1]] || `kind ${DATA.events[e + 1]}`),
      column('task', 'minmax(120px, 1fr)', (e) => taskName(DATA.events[e + 2])),
      took('duration', (e) => DATA.events[e + 4]),
      column('details', 'minmax(200px, 3fr)', (e) => TEXTS[DATA.events[e + 3]]),
    ],
    choice: (event) => ({ event }),
  },
};

/* What a task does says more than a name that asyncio makes up. */
function taskLabel(task) {
  const code = /^Task-\d+$/.test(task.name) ? task.code.split(' (')[0] : '';
  return `${code || task.name} #${task.id}`;
}

function taskName(id) {
  if (!id) return '';
  const task = TASKS.get(id);
  return task ? taskLabel(task) : `#${id}`;
}

/* Events are numbers into DATA.events: objects for all of them would take long. */
function eventRows() {
  const rows = new Array(DATA.events.length / 5);
  for (let i = 0; i < rows.length; i++) rows[i] = i * 5;
  return rows;
}

function longestSteps(most) {
  const steps = [];
  for (const lane of MADE) {
    if (lane.kind !== 'task') continue;
    for (let index = 0; index < lane.count; index++) {
      if (TEXTS[lane.category[index]] !== 'run') continue;
      steps.push({ lane, index, ts: lane.start[index], took: lane.end[index] - lane.start[index] });
    }
  }
  return steps.sort((a, b) => b.took - a.took).slice(0, most);
}

class TableView {
  constructor(element, listener) {
    this.element = element;
    this.listener = listener;
    this.chosen = undefined;
    this.search = '';
    element.addEventListener('scroll', () => this.fill(), { passive: true });
    element.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.fill()).observe(element);
  }

  show(name) {
    this.name = name;
    this.table = TABLES[name];
    this.head = this.makeHead();
    this.body = document.createElement('div');
    this.body.className = 'body';
    this.body.setAttribute('role', 'rowgroup');
    this.element.replaceChildren(this.head, this.body);
    this.element.scrollTop = 0;
    this.update();
  }

  makeHead() {
    const head = document.createElement('div');
    head.className = 'row head';
    head.setAttribute('role', 'row');
    head.style.gridTemplateColumns = this.grid();
    head.style.minWidth = this.least();
    this.table.columns.forEach((made, i) => {
      const button = document.createElement('button');
      button.setAttribute('role', 'columnheader');
      if (made.number) button.className = 'number';
      button.addEventListener('click', () => this.sortBy(i));
      head.append(button);
    });
    return head;
  }

  grid() {
    return this.table.columns.map((made) => made.width).join(' ');
  }

  /* All rows get the same width, so that their columns stand in lines. */
  least() {
    const least = (made) => Number(/\d+/.exec(made.width)[0]);
    return `${this.table.columns.reduce((sum, made) => sum + least(made), 12)}px`;
  }

  sortBy(i) {
    const before = this.table.sort;
    const first = this.table.columns[i].number; // of numbers, the largest first
    this.table.sort = { column: i, down: before && before.column === i ? !before.down : first };
    this.update();
  }

  setSearch(text) {
    this.search = text.trim().toLowerCase();
    this.update();
  }

  matches(table) {
    if (!this.search) return table.rows;
    const words = this.search.split(/\s+/);
    if (!table.lines) table.lines = new Array(table.rows.length);
    return table.rows.filter((row, i) => {
      let line = table.lines[i];
      if (line === undefined) {
        line = '';
        for (const made of table.columns) line += made.text(row) + ' ';
        table.lines[i] = line = line.toLowerCase();
      }
      return words.every((word) => line.includes(word));
    });
  }

  update() {
    const { table } = this;
    const rows = this.matches(table).slice();
    if (table.sort) {
      const { value } = table.columns[table.sort.column];
      const sign = table.sort.down ? -1 : 1;
      rows.sort((a, b) => {
        const [x, y] = [value(a) ?? '', value(b) ?? ''];
        if (typeof x === 'number' && typeof y === 'number') return sign * (x - y);
        return sign * String(x).localeCompare(String(y), 'en', { numeric: true });
      });
    }
    this.rows = rows;
    Array.from(this.head.children).forEach((button, i) => {
      const sorted = table.sort && table.sort.column === i;
      button.textContent = table.columns[i].title + (sorted ? (table.sort.down ? ' ↓' : ' ↑') : '');
      button.setAttribute('aria-sort', sorted ? (table.sort.down ? 'descending' : 'ascending') : 'none');
    });
    this.body.style.height = `${rows.length * LINE}px`;
    this.body.style.minWidth = this.least();
    this.body.replaceChildren();
    this.made = new Map(); // rows that exist, by their place
    if (!rows.length) {
      const empty = document.createElement('div');
      empty.className = 'empty';
      empty.textContent = this.search && table.rows.length ? `Nothing matches “${this.search}”.` : table.empty;
      this.body.append(empty);
      this.body.style.height = 'auto';
    }
    this.fill();
  }

  /* Makes the rows that are in view. */
  fill() {
    if (!this.rows || !this.rows.length) return;
    const first = Math.max(0, Math.floor(this.element.scrollTop / LINE) - 4);
    const last = Math.min(this.rows.length, first + Math.ceil(this.element.clientHeight / LINE) + 8);
    for (const [i, line] of this.made) {
      if (i >= first && i < last) continue;
      line.remove();
      this.made.delete(i);
    }
    for (let i = first; i < last; i++) {
      let line = this.made.get(i);
      if (!line) {
        line = this.makeRow(this.rows[i], i);
        this.made.set(i, line);
        this.body.append(line);
      }
      line.classList.toggle('selected', this.rows[i] === this.chosen);
    }
  }

  makeRow(row, i) {
    const line = document.createElement('div');
    line.className = 'row';
    line.setAttribute('role', 'row');
    line.style.top = `${i * LINE}px`;
    line.style.gridTemplateColumns = this.grid();
    for (const made of this.table.columns) {
      const cell = document.createElement('div');
      const text = made.text(row);
      cell.setAttribute('role', 'cell');
      if (made.badge && text) {
        const badge = document.createElement('span');
        badge.className = `badge ${text}`;
        badge.textContent = text;
        cell.append(badge);
      } else {
        cell.textContent = text;
        if (text.length > 14) cell.title = text;
      }
      if (made.number) cell.classList.add('number');
      if (made.code) cell.classList.add('code');
      line.append(cell);
    }
    line.addEventListener('click', () => this.choose(row));
    return line;
  }

  choose(row) {
    this.chosen = row;
    this.fill();
    this.listener(this.table.choice(row));
  }

  /* Marks a row without telling; brings it into view if it is in this table. */
  mark(row) {
    this.chosen = row;
    const i = this.rows.indexOf(row);
    if (i >= 0) {
      const top = i * LINE;
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop || top > scrollTop + clientHeight - 2 * LINE) this.element.scrollTop = top - clientHeight / 3;
    }
    this.fill();
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !this.rows.length) return;
    event.preventDefault();
    const i = Math.min(this.rows.length - 1, Math.max(0, this.rows.indexOf(this.chosen) + step));
    this.choose(this.rows[i]);
    this.mark(this.rows[i]);
  }
}
