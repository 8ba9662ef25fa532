'use strict';
/* Puts the page together: header, cards, details, and what belongs to what. */

const find = (id) => document.getElementById(id);

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/* --- header, losses, cards --- */

function showHeader() {
  const { info } = DATA;
  document.title = `${info.name} – qtinter trace`;
  find('name').textContent = info.name;
  const about = [];
  if (info.pid) about.push(`pid ${info.pid}`);
  if (DATA.wall) {
    const begun = new Date(DATA.wall * 1000);
    about.push(begun.toISOString().replace('T', ' ').replace(/\.(\d{3})Z$/, '.$1 UTC'));
  }
  if (info.level) about.push(`level ${info.level}`);
  if (info.binding) about.push(`${info.binding}${info.qt ? ` (Qt ${info.qt})` : ''}`);
  if (info.python) about.push(`Python ${info.python}`);
  if (info.qtinter) about.push(`qtinter ${info.qtinter}`);
  find('about').textContent = about.join(' · ');
}

function showLosses() {
  const lines = [];
  if (DATA.lost) {
    const causes = [...new Set(DATA.gaps.map((gap) => gap[3]))].join(', ');
    lines.push(['LOST', `${count(DATA.lost)} events (${causes}): what is shown around them is incomplete.`]);
  }
  if (DATA.left_out) lines.push(['Shortened', `this page has the last ${count(DATA.events.length / 5)} events; ${count(DATA.left_out)} earlier ones are in the recording.`]);
  for (const problem of DATA.problems) lines.push(['Damaged', problem]);
  for (const [what, text] of lines) {
    const line = make('div');
    line.append(make('b', '', `${what}: `), text);
    find('losses').append(line);
  }
  find('losses').hidden = !lines.length;
}

function card(title, value, more, options = {}) {
  const element = make(options.click ? 'button' : 'div', `card ${options.className || ''}`);
  element.append(make('span', '', title), make('b', '', value));
  if (options.bar) element.append(options.bar);
  element.append(make('small', '', more));
  if (options.click) element.addEventListener('click', options.click);
  find('cards').append(element);
}

function showCards() {
  const states = {};
  for (const task of DATA.tasks) states[task.state || 'unknown'] = (states[task.state || 'unknown'] || 0) + 1;
  card('Recorded', duration(END), `${count(DATA.events.length / 5)} events`, { click: () => openTable('events') });
  const parts = ['failed', 'destroyed', 'cancelled', 'running', 'waiting', 'ready', 'done'].filter((state) => states[state]);
  card('Tasks', count(DATA.tasks.length), parts.map((state) => `${states[state]} ${state}`).join(', '), { click: () => openTable('tasks') });
  card('Steps', count(TOTALS.steps), `${count(Math.round(TOTALS.steps / (END / 1e9)))} a second`);
  const { maxLane, maxIndex } = TOTALS;
  card('Longest step', maxLane ? duration(TOTALS.maxStep) : '–', maxLane ? maxLane.name : '', {
    className: TOTALS.maxStep >= 100e6 ? 'bad' : '',
    click: maxLane ? () => choose({ lane: maxLane, index: maxIndex }, true) : undefined,
  });
  card('Lag, 99 %', TOTALS.lag99 === null ? '–' : duration(TOTALS.lag99), 'from ready to running');
  const failed = (states.failed || 0) + (states.destroyed || 0);
  const lints = DATA.findings.filter((finding) => finding.kind === 'lint').length;
  card('Findings', count(DATA.findings.length), lints < DATA.findings.length ? `${DATA.findings.length - lints} of them ${DATA.findings.length - lints === 1 ? 'a stall' : 'stalls'}` : failed ? `${failed} failed ${failed === 1 ? 'task' : 'tasks'}` : 'no failed task', {
    className: DATA.findings.length ? 'bad' : '',
    click: () => openTable('findings'),
  });
  const all = TOTALS.asyncio + TOTALS.qt + TOTALS.idle;
  if (!all) return;
  const bar = make('div', 'share');
  const words = [];
  for (const [key, name] of [['asyncio', 'asyncio'], ['qt', 'Qt'], ['idle', 'idle']]) {
    const part = (100 * TOTALS[key]) / all;
    if (!TOTALS[key]) continue;
    const piece = make('i');
    piece.style.width = `${part}%`;
    piece.style.background = `var(--${key === 'asyncio' ? 'run' : key})`;
    bar.append(piece);
    words.push(`${name} ${part < 10 ? part.toFixed(1) : Math.round(part)} %`);
  }
  card('Loop time', words[0], words.slice(1).join(', '), { bar, className: 'wide' });
}

function showLegend() {
  const seen = new Set(MADE.flatMap((lane) => (lane.count ? Array.from(new Set(lane.category), (i) => TEXTS[i]) : [])));
  const words = [
    ['run', 'runs'], ['ready', 'is ready'], ['wait', 'waits'], ['asyncio', 'asyncio’s turn'], ['qt', 'Qt’s turn'],
    ['callback', 'callback'], ['modal', 'modal or nested'], ['span', 'span'],
  ];
  for (const [category, text] of words) {
    if (!seen.has(category) && !(category === 'modal' && seen.has('nested'))) continue;
    const item = make('span');
    const colour = make('i');
    colour.style.background = `var(--${category})`;
    item.append(colour, text);
    find('legend').append(item);
  }
}

/* --- details --- */

function details(title, kind, rows, links = [], text = '') {
  const panel = find('details');
  panel.replaceChildren(make('h2', '', title), make('p', 'kind', kind));
  const list = make('dl');
  for (const [key, value] of rows) {
    if (value === '' || value === null || value === undefined) continue;
    list.append(make('dt', '', key), make('dd', '', String(value)));
  }
  panel.append(list);
  if (text) panel.append(make('pre', '', text));
  for (const [heading, items] of links) {
    if (!items.length) continue;
    panel.append(make('h3', '', heading));
    for (const [label, action] of items.slice(0, 12)) {
      const link = make('button', 'link', label);
      link.addEventListener('click', action);
      panel.append(link);
    }
    if (items.length > 12) panel.append(make('p', 'hint', `and ${count(items.length - 12)} more`));
  }
  panel.scrollTop = 0;
}

function hint() {
  const panel = find('details');
  panel.replaceChildren(make('h2', '', 'Details'));
  const lines = [
    ['Click', 'a slice, a marker, a name or a row'],
    ['Drag', 'to move, or a part of the overview to see only that'],
    ['Ctrl + wheel', 'to zoom (also over the time line)'],
    ['W S A D', 'to zoom and move, 0 to see all'],
    ['/', 'to search, Esc to leave'],
  ];
  for (const [key, text] of lines) {
    const line = make('p', 'hint');
    line.append(make('kbd', '', key), ` ${text}`);
    panel.append(line);
  }
}

function taskLink(id, label) {
  const task = TASKS.get(id);
  return task ? [[label || taskName(id), () => choose({ task })]] : [];
}

function neighbours(choice) {
  const { lane } = choice;
  const flows = flowsOf(choice);
  const name = (l, ts) => {
    const instant = l.instants.find((one) => one.ts === ts && /signal|slot/.test(one.category));
    if (instant) return [TEXTS[instant.label], { lane: l, instant }];
    const index = sliceAt(l, ts);
    const label = l.kind === 'task' || index < 0 ? l.name : TEXTS[l.label[index]];
    return [label, index < 0 ? { lane: l, index: -1 } : { lane: l, index }];
  };
  const link = (l, ts) => {
    const [label, target] = name(l, ts);
    return [`${label}, at ${clock(ts)}`, () => choose(target, false)];
  };
  return [
    ['Woken by', flows.filter((f) => f.to === lane && f.from !== lane).map((f) => link(f.from, f.ts))],
    ['Wakes', flows.filter((f) => f.from === lane && f.to !== lane).map((f) => link(f.to, f.until))],
  ];
}

function describeSlice({ lane, index }) {
  const kinds = {
    run: 'step of a task', step: 'step of a task', wait: 'wait of a task', ready: 'task that is ready',
    asyncio: 'turn of the asyncio loop', qt: 'time between turns', idle: 'nothing to do', callback: 'callback',
    modal: 'modal function', nested: 'nested Qt event loop', span: 'span',
  };
  const category = TEXTS[lane.category[index]];
  const rows = [
    ['took', duration(lane.end[index] - lane.start[index])],
    ['from', clock(lane.start[index], 100)],
    ['until', clock(lane.end[index], 100)],
    ['lane', lane.name],
    ['code', lane.kind === 'task' ? lane.title : ''],
    ...pairs(lane.args[index]).filter(([key]) => key !== 'task'),
  ];
  const links = neighbours({ lane, index });
  const own = pairs(lane.args[index]).find(([key]) => key === 'task');
  if (lane.kind === 'task') links.push(['Task', taskLink(lane.ident)]);
  else if (own && category === 'step') links.push(['Task', taskLink(Number(own[1]))]);
  details(TEXTS[lane.label[index]], kinds[category] || category, rows, links);
}

function describeInstant({ lane, instant }) {
  const rows = pairs(instant.args);
  const stack = rows.find(([key]) => key === 'stack');
  details(
    TEXTS[instant.label],
    instant.category,
    [['at', clock(instant.ts, 100)], ['lane', lane.name], ...rows.filter(([key]) => key !== 'stack')],
    [...neighbours({ lane, instant }), ['Task', lane.kind === 'task' ? taskLink(lane.ident) : []]],
    stack ? stack[1] : ''
  );
}

function describeTask(task) {
  const rows = [
    ['state', task.state],
    ['failed with', task.exception],
    ['waits for', task.waits_for],
    ['code', task.code],
    ['created', task.created === null ? '' : clock(task.created, 1e3)],
    ['created by', task.creator],
    ['ended', task.ended === null ? '' : clock(task.ended, 1e3)],
    ['slot', task.slot_name],
    ['steps', count(task.steps)],
    ['busy', duration(task.busy)],
    ['longest step', task.max ? `${duration(task.max)}, at ${clock(task.max_at)}` : ''],
    ['was ready', duration(task.ready)],
    ['waited', duration(task.waited)],
  ];
  const links = [];
  const lane = task.track;
  if (lane && task.max) {
    const index = sliceAt(lane, task.max_at);
    links.push(['Go to', [['its longest step', () => choose({ lane, index }, true)], ['its events', () => searchFor(`#${task.id}`, 'events')]]]);
  }
  const waits = DATA.waits.filter((wait) => wait.task === task.id);
  links.push(['Signal waits', waits.map((wait) => [`${wait.signal} of ${wait.sender || 'something'}`, () => choose({ wait })])]);
  details(taskLabel(task), 'task', rows, links);
}

function describeSlot(slot) {
  const rows = [
    ['code', slot.code], ['receiver', slot.receiver], ['overlap', slot.policy], ['calls', count(slot.calls)],
    ['pending', slot.live], ['at once', slot.most], ['refused', slot.refused || ''], ['failed', slot.failed || ''],
    ['longest', slot.max ? duration(slot.max) : ''],
    ['on average', slot.calls > slot.live ? duration(slot.total / (slot.calls - slot.live)) : ''],
  ];
  const calls = DATA.tasks.filter((task) => task.slot === slot.id);
  details(slot.name, 'asyncslot', rows, [['Calls', calls.map((task) => [`${taskLabel(task)}, ${task.state}`, () => choose({ task })])]]);
}

function describeWait(wait) {
  const rows = [
    ['sender', wait.sender + (wait.alive ? '' : ' (destroyed)')], ['form', wait.form],
    ['since', wait.since === null ? 'before the recording' : clock(wait.since, 1e3)],
    ['until', wait.ended === null ? 'it goes on' : clock(wait.ended, 1e3)], ['end', wait.how.replace('_', ' ')],
    ['fired', count(wait.fired)],
  ];
  details(`signal ${wait.signal}`, 'wait for a signal', rows, [['Task', taskLink(wait.task)]]);
}

function describeFinding(finding) {
  const rows = [['at', clock(finding.ts, 1e3)], ['severity', finding.severity], ['concerns', finding.concerns]];
  details(finding.text, finding.kind, rows, [['Task', taskLink(finding.task)]], finding.stack || '');
}

function describeEvent(at) {
  const [ts, kind, task, text, took_] = DATA.events.slice(at, at + 5);
  const rows = [['at', clock(ts, 1)], ['duration', took_ ? duration(took_) : ''], ['details', TEXTS[text]]];
  details(DATA.kinds[kind] || `kind ${kind}`, 'event', rows, [['Task', taskLink(task)]]);
}

/* --- choosing --- */

let timeline = null;
let table = null;

/* Shows a slice, an instant, a lane, or a row of a table, wherever it was chosen. */
function choose(choice, zoomTo = false, fromTimeline = false) {
  if (!choice) {
    hint();
    return;
  }
  if (choice.lane && choice.index === -1) {
    if (choice.lane.kind === 'task') choose({ task: TASKS.get(choice.lane.ident) });
    return;
  }
  if (choice.lane) {
    if (!fromTimeline) timeline.reveal(choice, zoomTo);
    if (choice.instant) describeInstant(choice);
    else describeSlice(choice);
    const task = choice.lane.kind === 'task' ? TASKS.get(choice.lane.ident) : undefined;
    if (task && table.name === 'tasks') table.mark(task);
    return;
  }
  const { task, slot, wait, finding, event } = choice;
  if (task) {
    describeTask(task);
    if (task.track) {
      timeline.reveal({ lane: task.track, index: task.track.count ? lastInView(task.track) : undefined });
      if (table.name === 'tasks') table.mark(task);
    }
  } else if (slot) describeSlot(slot);
  else if (wait) {
    describeWait(wait);
    const owner = TASKS.get(wait.task);
    if (owner && owner.track) timeline.scrollTo(owner.track);
  } else if (finding) {
    describeFinding(finding);
    centre(finding.ts);
  } else {
    describeEvent(event);
    centre(DATA.events[event]);
  }
}

/* Of a lane, the slice that is in view or nearest to it. */
function lastInView(lane) {
  const middle = (timeline.from + timeline.until) / 2;
  const index = Math.min(lane.count - 1, Math.max(0, lane.after(middle) - 1));
  return index;
}

function centre(ts) {
  const size = timeline.until - timeline.from;
  if (ts < timeline.from || ts > timeline.until) timeline.show(ts - size / 2, ts + size / 2);
}

function openTable(name) {
  for (const tab of find('tabs').children) tab.setAttribute('aria-selected', String(tab.dataset.table === name));
  table.show(name);
}

function showTabs() {
  for (const [name, { title, rows }] of Object.entries(TABLES)) {
    const tab = make('button', '', title);
    tab.setAttribute('role', 'tab');
    tab.dataset.table = name;
    tab.append(make('span', '', count(rows.length)));
    tab.addEventListener('click', () => openTable(name));
    find('tabs').append(tab);
  }
}

function countMatches() {
  for (const tab of find('tabs').children) {
    const made = TABLES[tab.dataset.table];
    // The events are many: they are counted when they are looked at.
    const all = !table.search || (made.rows.length > 50000 && tab.dataset.table !== table.name);
    const n = tab.dataset.table === table.name ? table.rows.length : all ? made.rows.length : table.matches(made).length;
    tab.querySelector('span').textContent = all ? count(made.rows.length) : `${count(n)} of ${count(made.rows.length)}`;
  }
}

let searching = 0;

function search(text) {
  clearTimeout(searching);
  searching = setTimeout(() => {
    table.setSearch(text);
    timeline.setFilter(text);
    countMatches();
  }, 120);
}

function searchFor(text, name) {
  find('search').value = text;
  openTable(name);
  search(text);
}

/* --- keys, buttons --- */

function keys(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === 'Escape') {
    if (typing) event.target.blur();
    else timeline.choose(null);
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    '/': () => find('search').focus(),
    w: () => timeline.zoom(0.6),
    s: () => timeline.zoom(1 / 0.6),
    a: () => timeline.pan(-0.2),
    d: () => timeline.pan(0.2),
    0: () => timeline.show(0, END),
    f: () => timeline.chosen && timeline.reveal(timeline.chosen, true),
  };
  const action = actions[event.key.toLowerCase()];
  if (action) {
    event.preventDefault();
    action();
  }
}

function dragDivider() {
  const box = find('timeline');
  find('divider').addEventListener('pointerdown', (event) => {
    const [y, height] = [event.clientY, box.clientHeight];
    const move = (moved) => (box.style.height = `${Math.max(150, Math.min(innerHeight - 260, height + moved.clientY - y))}px`);
    const up = () => {
      removeEventListener('pointermove', move);
      removeEventListener('pointerup', up);
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', up);
    event.preventDefault();
  });
}

showHeader();
showLosses();
showCards();
showLegend();
showTabs();
timeline = new TimelineView((choice) => choose(choice, false, true));
table = new TableView(find('table'), (choice) => choose(choice, true));
openTable('tasks');
hint();
dragDivider();
find('search').addEventListener('input', (event) => search(event.target.value));
find('arrows').addEventListener('change', (event) => {
  timeline.arrows = event.target.checked;
  timeline.draw();
});
find('active').addEventListener('change', (event) => timeline.setActiveOnly(event.target.checked));
find('active').checked = DATA.tasks.length > 100;
timeline.setActiveOnly(find('active').checked);
find('zoom-in').addEventListener('click', () => timeline.zoom(0.5));
find('zoom-out').addEventListener('click', () => timeline.zoom(2));
find('fit').addEventListener('click', () => timeline.show(0, END));
addEventListener('keydown', keys);
document.documentElement.dataset.ready = 'yes';
