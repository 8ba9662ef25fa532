'use strict';
/* The timeline: lanes on a canvas of which only what is in view is drawn, an overview
   above it.  It tells who listens what was chosen, and knows nothing of the rest of the
   page. */

const GUTTER = 216; // for the names of lanes
const RULER = 24;
const ROW = 17; // of a slice
const PAD = 4; // around the rows of a lane
const CURVE = 28;
const MIN_VIEW = 200; // ns

class TimelineView {
  constructor(listener) {
    this.listener = listener;
    this.scroller = document.getElementById('lanes');
    this.canvas = document.getElementById('canvas');
    this.overview = document.getElementById('overview');
    this.tip = document.getElementById('tip');
    this.context = this.canvas.getContext('2d');
    this.from = 0;
    this.until = END;
    this.filter = '';
    this.activeOnly = false; // leaves out tasks that do nothing in what is shown
    this.arrows = true;
    this.chosen = null; // {lane, index} or {lane, instant}
    this.queued = false;
    this.band = null; // bins of the overview
    this.readColours();
    this.place();
    this.listen();
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = {};
    for (const name of [
      'bg', 'panel', 'line', 'line-soft', 'text', 'muted', 'accent', 'hover', 'select', 'run',
      'ready', 'wait', 'asyncio', 'qt', 'idle', 'callback', 'modal', 'span', 'bad', 'signal',
      'on-dark', 'on-light', 'counter',
    ]) this.colours[name] = colour(name);
    const c = this.colours;
    this.fills = {
      run: c.run, step: c.run, ready: c.ready, wait: c.wait, asyncio: c.asyncio, qt: c.qt,
      idle: c.idle, callback: c.callback, modal: c.modal, nested: c.modal, span: c.span,
    };
    this.inks = {
      run: '#fff', step: '#fff', callback: '#fff', ready: '#1c232d', modal: '#1c232d',
      nested: '#1c232d', span: '#1c232d',
    };
    if (matchMedia('(prefers-color-scheme: dark)').matches) this.inks.span = '#fff';
  }

  /* --- where lanes are --- */

  place() {
    const wanted = this.filter;
    this.lanes = LANES.filter(
      (lane) =>
        lane.kind !== 'task' ||
        ((!wanted || `${lane.name} ${lane.title}`.toLowerCase().includes(wanted)) &&
          (!this.activeOnly || (lane.first <= this.until && lane.last >= this.from)))
    );
    let top = RULER;
    for (const lane of this.lanes) {
      lane.top = top;
      lane.height = lane.kind === 'counter' ? CURVE : lane.depths * ROW + 2 * PAD;
      top += lane.height;
    }
    this.bottom = top + 6;
    this.placed = new Set(this.lanes);
    this.draw();
  }

  setFilter(text) {
    this.filter = text.trim().toLowerCase();
    this.place();
  }

  laneAt(y) {
    const at = y + this.scroller.scrollTop;
    if (y < RULER) return null;
    const lane = this.lanes[this.laneFrom(at)];
    return lane && lane.top <= at ? lane : null;
  }

  /* Number of the first lane that ends below a height. */
  laneFrom(at) {
    let low = 0;
    let high = this.lanes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.lanes[middle].top + this.lanes[middle].height <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  x(ts) {
    return GUTTER + ((ts - this.from) / (this.until - this.from)) * this.room;
  }

  ts(x) {
    return this.from + ((x - GUTTER) / this.room) * (this.until - this.from);
  }

  get room() {
    return Math.max(50, this.width - GUTTER);
  }

  /* --- moving --- */

  show(from, until) {
    const size = Math.min(END, Math.max(MIN_VIEW, until - from));
    const middle = (from + until) / 2;
    this.from = Math.min(Math.max(0, middle - size / 2), END - size);
    this.until = this.from + size;
    if (this.activeOnly) this.place();
    else this.draw();
  }

  setActiveOnly(on) {
    this.activeOnly = on;
    this.place();
  }

  zoom(factor, around = (this.from + this.until) / 2) {
    const size = Math.min(END, Math.max(MIN_VIEW, (this.until - this.from) * factor));
    const part = (around - this.from) / (this.until - this.from);
    const from = around - part * size;
    this.show(from, from + size);
  }

  pan(part) {
    const by = (this.until - this.from) * part;
    const size = this.until - this.from;
    const from = Math.min(Math.max(0, this.from + by), END - size);
    this.show(from, from + size);
  }

  /* Brings a slice or an instant into view, and marks it. */
  reveal(choice, zoomTo = false) {
    this.chosen = choice;
    const { lane } = choice;
    const start = choice.instant ? choice.instant.ts : lane.start[choice.index];
    const end = choice.instant ? start : lane.end[choice.index];
    const size = this.until - this.from;
    if (zoomTo) {
      const wide = Math.max((end - start) * 4, size < END / 4 ? Math.min(size, (end - start) * 40 || size) : END / 50);
      this.show((start + end) / 2 - wide / 2, (start + end) / 2 + wide / 2);
    } else if (end < this.from || start > this.until) {
      this.show((start + end) / 2 - size / 2, (start + end) / 2 + size / 2);
    }
    if (!this.placed.has(lane)) {
      this.filter = '';
      this.place();
    }
    this.scrollTo(lane);
    this.draw();
  }

  scrollTo(lane) {
    if (!this.placed.has(lane)) return;
    const seen = this.scroller.clientHeight;
    const at = this.scroller.scrollTop;
    if (lane.top - RULER < at) this.scroller.scrollTop = lane.top - RULER;
    else if (lane.top + lane.height > at + seen) this.scroller.scrollTop = lane.top + lane.height - seen + 8;
  }

  choose(choice) {
    this.chosen = choice;
    this.draw();
    this.listener(choice);
  }

  /* --- drawing --- */

  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.paint();
    });
  }

  fit(canvas, width, height) {
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    return context;
  }

  paint() {
    const width = (this.width = this.scroller.clientWidth);
    const height = this.scroller.clientHeight;
    document.getElementById('height').style.height = `${Math.max(0, this.bottom - height)}px`;
    const g = this.fit(this.canvas, width, height);
    const c = this.colours;
    g.fillStyle = c.panel;
    g.fillRect(0, 0, width, height);
    g.font = '11.5px system-ui, "DejaVu Sans", sans-serif';
    g.textBaseline = 'middle';
    const scroll = this.scroller.scrollTop;
    const ticks = this.ticks();
    g.fillStyle = c['line-soft'];
    for (const ts of ticks.at) g.fillRect(Math.round(this.x(ts)), RULER, 1, height);
    const seen = [];
    for (let i = this.laneFrom(scroll + RULER); i < this.lanes.length && this.lanes[i].top < scroll + height; i++) {
      seen.push(this.lanes[i]);
    }
    g.save();
    g.beginPath();
    g.rect(GUTTER, RULER, width - GUTTER, height);
    g.clip();
    for (const lane of seen) {
      g.save();
      g.translate(0, lane.top - scroll);
      if (lane.kind === 'counter') this.paintCurve(g, lane);
      else this.paintLane(g, lane);
      g.restore();
    }
    this.paintGaps(g, height);
    for (const lane of seen) {
      g.save();
      g.translate(0, lane.top - scroll);
      for (const instant of lane.instants) this.paintInstant(g, lane, instant);
      g.restore();
    }
    this.paintArrows(g, scroll);
    this.paintChosen(g, scroll);
    g.restore();
    this.paintNames(g, seen, scroll, height);
    this.paintRuler(g, ticks, width);
    this.paintOverview();
  }

  ticks() {
    const span = this.until - this.from;
    const least = (span / this.room) * 92;
    let step = 10 ** Math.ceil(Math.log10(least));
    if (step / 5 >= least) step /= 5;
    else if (step / 2 >= least) step /= 2;
    const at = [];
    for (let ts = Math.ceil(this.from / step) * step; ts <= this.until; ts += step) at.push(ts);
    return { step, at };
  }

  paintRuler(g, ticks, width) {
    const c = this.colours;
    g.fillStyle = c.panel;
    g.fillRect(0, 0, width, RULER);
    g.fillStyle = c.line;
    g.fillRect(0, RULER - 1, width, 1);
    g.fillStyle = c.muted;
    g.textAlign = 'left';
    for (const ts of ticks.at) {
      const x = Math.round(this.x(ts));
      if (x < GUTTER) continue;
      g.fillRect(x, RULER - 6, 1, 5);
      g.fillText(clock(ts, ticks.step), x + 4, RULER / 2);
    }
    g.fillStyle = c.panel;
    g.fillRect(0, 0, GUTTER, RULER - 1);
    g.fillStyle = c.muted;
    g.fillText(`in view: ${duration(this.until - this.from)}`, 12, RULER / 2);
  }

  paintNames(g, seen, scroll, height) {
    const c = this.colours;
    g.fillStyle = c.panel;
    g.fillRect(0, RULER, GUTTER, height);
    g.textAlign = 'left';
    for (const lane of seen) {
      const y = lane.top - scroll;
      if (this.chosen && this.chosen.lane === lane) {
        g.fillStyle = c.select;
        g.fillRect(0, y, GUTTER, lane.height);
      }
      g.fillStyle = lane.kind === 'task' ? c.text : c.muted;
      const name = this.cut(g, lane.name, GUTTER - 22);
      if (lane.kind === 'counter') {
        g.fillText(name, 12, y + 10);
        g.fillText(`most ${lane.show(lane.max)}`, 12, y + 22);
      } else {
        g.fillText(name, 12, y + PAD + ROW / 2);
        if (lane.depths > 1 && lane.title) g.fillText(this.cut(g, lane.title, GUTTER - 22), 12, y + PAD + ROW * 1.5);
      }
      g.fillStyle = c['line-soft'];
      g.fillRect(0, y + lane.height - 1, this.width, 1);
    }
    g.fillStyle = c.line;
    g.fillRect(GUTTER - 1, 0, 1, height);
  }

  cut(g, text, room) {
    text = text.length > 200 ? text.slice(0, 200) : text;
    if (g.measureText(text).width <= room) return text;
    let low = 0;
    let high = text.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (g.measureText(text.slice(0, middle) + '…').width <= room) low = middle;
      else high = middle - 1;
    }
    return low ? text.slice(0, low) + '…' : '';
  }

  /* Slices that would fall on a pixel that has one of the same depth already are left
     out: what is drawn depends on the width, not on how many there are. */
  paintLane(g, lane) {
    const c = this.colours;
    const scale = this.room / (this.until - this.from);
    const filled = new Float64Array(8).fill(-1);
    const pixel = 1 / scale;
    let i = this.firstInView(lane);
    for (; i < lane.count && lane.start[i] <= this.until; i++) {
      const depth = lane.depth[i];
      if (lane.end[i] < this.from) continue;
      const left = GUTTER + (lane.start[i] - this.from) * scale;
      const right = GUTTER + (lane.end[i] - this.from) * scale;
      if (right < filled[depth]) {
        // Nothing before the next pixel can be seen: look there.
        if (depth === 0 && lane.depths === 1 && right - left < 1) {
          const next = lane.after(this.from + (filled[depth] - GUTTER) * pixel);
          if (next > i + 2) i = next - 2; // the one before may reach further
        }
        continue;
      }
      const x = Math.max(left, GUTTER - 2);
      const w = Math.max(0.75, Math.min(right, this.width + 2) - x);
      filled[depth] = Math.floor(x + w) + 0.5;
      const category = TEXTS[lane.category[i]];
      const y = PAD + depth * ROW;
      g.fillStyle = this.fills[category] || c.wait;
      g.fillRect(x, y, w > 2.5 ? w - 0.75 : w, ROW - 2);
      if (w > 34) {
        g.fillStyle = this.inks[category] || c['on-light'];
        g.textAlign = 'left';
        const label = TEXTS[lane.label[i]];
        const text = category === 'wait' ? label.replace(/^waits for /, '') : label;
        g.fillText(this.cut(g, text, w - 10), x + 5, y + ROW / 2 - 0.5);
      }
    }
  }

  firstInView(lane) {
    let i = Math.max(0, lane.after(this.from) - 1);
    while (i > 0 && lane.depth[i] > 0) i--; // the slice around it
    return i;
  }

  paintCurve(g, curve) {
    const c = this.colours;
    if (!curve.count || !curve.max) return;
    const bottom = CURVE - 4;
    const high = bottom - 4;
    g.fillStyle = c.counter;
    g.globalAlpha = 0.75;
    let i = Math.max(0, curve.at(this.from));
    while (i < curve.count && curve.ts[i] <= this.until) {
      const x = Math.max(GUTTER, Math.floor(this.x(curve.ts[i])));
      let most = curve.value[i];
      let next = i + 1;
      const edge = this.ts(x + 1);
      while (next < curve.count && curve.ts[next] < edge) most = Math.max(most, curve.value[next++]);
      const until = next < curve.count ? this.x(curve.ts[next]) : this.width;
      // A lag is of a moment; the others stay until they change.
      const w = curve.counter === 'lag' ? 1.5 : Math.max(1, until - x);
      const h = (most / curve.max) * high;
      if (most) g.fillRect(x, bottom - h, w, Math.max(1, h));
      i = next;
    }
    g.globalAlpha = 1;
  }

  paintGaps(g, height) {
    g.fillStyle = this.colours.bad;
    for (const [t0, t1] of DATA.gaps) {
      const x = this.x(t0);
      g.globalAlpha = 0.16;
      g.fillRect(x, RULER, Math.max(2, this.x(t1) - x), height);
      g.globalAlpha = 1;
    }
  }

  paintInstant(g, lane, instant) {
    if (instant.ts < this.from || instant.ts > this.until) return;
    const x = this.x(instant.ts);
    const pixel = Math.round(x);
    if (lane.lastMark === pixel && instant.category === lane.lastCategory && instant !== (this.chosen || {}).instant) return;
    lane.lastMark = pixel;
    lane.lastCategory = instant.category;
    const c = this.colours;
    const y = PAD + ROW / 2;
    const text = TEXTS[instant.label];
    g.beginPath();
    if (instant.category === 'end') {
      const bad = !/^(done|cancelled)/.test(text);
      g.strokeStyle = g.fillStyle = bad ? c.bad : c.muted;
      if (bad || text === 'cancelled') {
        g.lineWidth = 2;
        g.moveTo(x - 3.5, y - 3.5);
        g.lineTo(x + 3.5, y + 3.5);
        g.moveTo(x + 3.5, y - 3.5);
        g.lineTo(x - 3.5, y + 3.5);
        g.stroke();
      } else {
        g.arc(x, y, 2.5, 0, 7);
        g.fill();
      }
      return;
    }
    if (instant.category === 'mark') {
      g.fillStyle = c.accent;
      g.moveTo(x - 4.5, y - 6);
      g.lineTo(x + 4.5, y - 6);
      g.lineTo(x, y + 3);
    } else if (instant.category === 'signal' || instant.category === 'slot') {
      g.fillStyle = c.signal;
      g.moveTo(x, y - 5);
      g.lineTo(x + 4.5, y);
      g.lineTo(x, y + 5);
      g.lineTo(x - 4.5, y);
    } else if (instant.category === 'loop') {
      g.fillStyle = c.muted;
      g.rect(x - 0.75, y - 8, 1.5, 16);
    } else {
      g.fillStyle = c.bad;
      g.moveTo(x - 5.5, y + 5);
      g.lineTo(x + 5.5, y + 5);
      g.lineTo(x, y - 6);
    }
    g.closePath();
    g.fill();
    g.strokeStyle = c.panel;
    g.lineWidth = 1;
    g.stroke();
  }

  /* Those of what was chosen, or all while they can be told apart. */
  paintArrows(g, scroll) {
    let flows = this.chosen ? flowsOf(this.chosen) : [];
    const chosen = flows.length > 0;
    if (this.arrows && !chosen) {
      let low = 0;
      let high = FLOWS.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (FLOWS[middle].ts < this.from) low = middle + 1;
        else high = middle;
      }
      flows = [];
      for (let i = low; i < FLOWS.length && FLOWS[i].ts <= this.until; i++) {
        flows.push(FLOWS[i]);
        if (flows.length > 120) {
          flows = [];
          break;
        }
      }
    }
    const c = this.colours;
    for (const flow of flows) {
      if (!this.placed.has(flow.from) || !this.placed.has(flow.to)) continue;
      const x0 = this.x(flow.ts);
      const x1 = this.x(flow.until);
      const y0 = flow.from.top - scroll + PAD + ROW / 2;
      const y1 = flow.to.top - scroll + PAD + ROW / 2;
      const bend = Math.max(14, Math.min(60, Math.abs(x1 - x0) / 2));
      g.strokeStyle = g.fillStyle = chosen ? c.text : c.muted;
      g.globalAlpha = chosen ? 0.9 : 0.45;
      g.lineWidth = chosen ? 1.6 : 1;
      g.beginPath();
      g.moveTo(x0, y0);
      g.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 1, y1);
      g.stroke();
      g.beginPath();
      g.moveTo(x1, y1);
      g.lineTo(x1 - 6, y1 - 3.5);
      g.lineTo(x1 - 6, y1 + 3.5);
      g.fill();
      g.globalAlpha = 1;
    }
  }

  paintChosen(g, scroll) {
    if (!this.chosen || !this.placed.has(this.chosen.lane)) return;
    const { lane, index, instant } = this.chosen;
    g.strokeStyle = this.colours.text;
    g.lineWidth = 2;
    if (instant) {
      g.beginPath();
      g.arc(this.x(instant.ts), lane.top - scroll + PAD + ROW / 2, 8, 0, 7);
      g.stroke();
      return;
    }
    const left = Math.max(GUTTER - 3, this.x(lane.start[index]));
    const right = Math.min(this.width + 3, this.x(lane.end[index]));
    g.strokeRect(left, lane.top - scroll + PAD + lane.depth[index] * ROW - 0.5, Math.max(2, right - left), ROW - 1);
  }

  /* How busy the loops were, and which part of it is in view. */
  paintOverview() {
    const width = this.overview.parentNode.clientWidth;
    const height = 44;
    const g = this.fit(this.overview, width, height);
    const c = this.colours;
    g.fillStyle = c.panel;
    g.fillRect(0, 0, width, height);
    const room = width - GUTTER;
    const bins = Math.max(1, Math.floor(room / 2));
    if (!this.band || this.band.length !== bins) this.band = busyBins(bins);
    g.fillStyle = c.run;
    for (let i = 0; i < bins; i++) {
      const h = Math.min(1, this.band[i]) * (height - 10);
      if (h > 0) g.fillRect(GUTTER + i * 2, height - 3 - Math.max(1, h), 2, Math.max(1, h));
    }
    g.fillStyle = c.bad;
    for (const [t0, t1] of DATA.gaps) {
      g.fillRect(GUTTER + (t0 / END) * room, 0, Math.max(2, ((t1 - t0) / END) * room), height);
    }
    for (const finding of DATA.findings) {
      g.fillRect(GUTTER + (finding.ts / END) * room - 1, 0, 2, 7);
    }
    const left = GUTTER + (this.from / END) * room;
    const right = Math.max(left + 3, GUTTER + (this.until / END) * room);
    g.fillStyle = c.bg;
    g.globalAlpha = 0.72;
    g.fillRect(GUTTER, 0, left - GUTTER, height);
    g.fillRect(right, 0, width - right, height);
    g.globalAlpha = 1;
    g.strokeStyle = c.accent;
    g.lineWidth = 1.5;
    g.strokeRect(left + 0.75, 0.75, right - left - 1.5, height - 1.5);
    g.fillStyle = c.panel;
    g.fillRect(0, 0, GUTTER, height);
    g.fillStyle = c.muted;
    g.font = '11.5px system-ui, "DejaVu Sans", sans-serif';
    g.textBaseline = 'middle';
    g.fillText('whole recording', 12, 15);
    g.fillText(`${duration(END)}, share that is busy`, 12, 30);
  }

  /* --- mouse and keys --- */

  listen() {
    const relayout = () => this.draw();
    new ResizeObserver(relayout).observe(this.scroller);
    this.scroller.addEventListener('scroll', relayout, { passive: true });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.readColours();
      this.draw();
    });
    this.listenOverview();
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let drag = null;
    this.canvas.addEventListener('pointerdown', (event) => {
      if (event.button) return;
      const [x, y] = at(event);
      drag = { x, y, from: this.from, scroll: this.scroller.scrollTop, moved: false };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      const [x, y] = at(event);
      if (!drag) {
        this.hover(x, y, event);
        return;
      }
      if (Math.abs(x - drag.x) + Math.abs(y - drag.y) > 4) drag.moved = true;
      if (!drag.moved) return;
      this.canvas.classList.add('dragging');
      this.tip.hidden = true;
      const size = this.until - this.from;
      const from = Math.min(Math.max(0, drag.from - ((x - drag.x) / this.room) * size), END - size);
      this.scroller.scrollTop = drag.scroll - (y - drag.y);
      this.show(from, from + size);
    });
    this.canvas.addEventListener('pointerup', (event) => {
      this.canvas.classList.remove('dragging');
      const [x, y] = at(event);
      if (drag && !drag.moved) this.choose(this.find(x, y));
      drag = null;
    });
    this.canvas.addEventListener('pointercancel', () => (drag = null));
    this.canvas.addEventListener('dblclick', (event) => {
      const found = this.find(...at(event));
      if (found) this.reveal(found, true);
    });
    this.canvas.addEventListener('pointerleave', () => (this.tip.hidden = true));
    this.scroller.addEventListener(
      'wheel',
      (event) => {
        const [x, y] = at(event);
        const zooms = event.ctrlKey || event.metaKey || event.altKey || y < RULER;
        if (zooms) {
          event.preventDefault();
          this.zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.05 : 0.0022)), this.ts(Math.max(GUTTER, x)));
        } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
          event.preventDefault();
          this.pan((event.deltaX || event.deltaY) / this.room);
        }
      },
      { passive: false }
    );
  }

  listenOverview() {
    let begun = null;
    const ts = (event) => {
      const box = this.overview.getBoundingClientRect();
      const part = (event.clientX - box.left - GUTTER) / Math.max(1, box.width - GUTTER);
      return Math.min(Math.max(part, 0), 1) * END;
    };
    this.overview.addEventListener('pointerdown', (event) => {
      begun = ts(event);
      this.overview.setPointerCapture(event.pointerId);
    });
    this.overview.addEventListener('pointermove', (event) => {
      if (begun === null) return;
      const now = ts(event);
      if (Math.abs(now - begun) > END / 300) this.show(Math.min(begun, now), Math.max(begun, now));
    });
    this.overview.addEventListener('pointerup', (event) => {
      if (begun !== null && Math.abs(ts(event) - begun) <= END / 300) {
        const size = this.until - this.from;
        this.show(begun - size / 2, begun + size / 2);
      }
      begun = null;
    });
    this.overview.addEventListener('dblclick', () => this.show(0, END));
  }

  /* What is under a point: an instant, a slice, or a lane. */
  find(x, y) {
    const lane = this.laneAt(y);
    if (!lane) return null;
    if (x < GUTTER) return { lane, index: -1 };
    if (lane.kind === 'counter') return null;
    let near = null;
    for (const instant of lane.instants) {
      const away = Math.abs(this.x(instant.ts) - x);
      if (away < 6 && (!near || away < near.away)) near = { away, instant };
    }
    const inner = y + this.scroller.scrollTop - lane.top;
    if (near && inner < PAD + ROW) return { lane, instant: near.instant };
    const depth = Math.floor((inner - PAD) / ROW);
    let index = sliceAt(lane, this.ts(x));
    if (index < 0 || lane.depth[index] < depth) {
      const beside = sliceAt(lane, this.ts(x + 1.5));
      index = beside >= 0 ? beside : sliceAt(lane, this.ts(x - 1.5));
    }
    while (index > 0 && lane.depth[index] > depth) index--;
    return index >= 0 && lane.depth[index] === depth ? { lane, index } : null;
  }

  hover(x, y, event) {
    const lane = this.laneAt(y);
    if (lane && lane.kind === 'counter' && x > GUTTER) {
      const i = lane.at(this.ts(x));
      if (i >= 0) this.showTip(event, lane.show(lane.value[i]), `${lane.name}, ${clock(lane.ts[i])}`);
      return;
    }
    const found = this.find(x, y);
    if (!found) {
      this.tip.hidden = true;
      return;
    }
    if (found.instant) {
      this.showTip(event, TEXTS[found.instant.label], `${found.instant.category}, ${clock(found.instant.ts)}`);
    } else if (found.index < 0) {
      this.showTip(event, lane.name, lane.title || lane.kind);
    } else {
      const i = found.index;
      this.showTip(event, TEXTS[lane.label[i]], `${duration(lane.end[i] - lane.start[i])} from ${clock(lane.start[i])}`);
    }
  }

  showTip(event, title, more) {
    const [first, second] = [document.createElement('b'), document.createElement('span')];
    first.textContent = title;
    second.textContent = more;
    this.tip.replaceChildren(first, second);
    this.tip.hidden = false;
    const box = this.tip.getBoundingClientRect();
    this.tip.style.left = `${Math.min(event.clientX + 14, innerWidth - box.width - 8)}px`;
    this.tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  }
}

/* Arrows that leave a slice or an instant, or arrive there. */
function flowsOf(choice) {
  const { lane, index, instant } = choice;
  if (!instant && (index === undefined || index < 0)) return [];
  const from = instant ? instant.ts : lane.start[index];
  const until = instant ? instant.ts : lane.end[index];
  return FLOWS.filter(
    (flow) =>
      (flow.from === lane && flow.ts >= from && flow.ts <= until && (instant || TEXTS[lane.category[index]] !== 'wait' || lane.kind !== 'task')) ||
      (flow.to === lane && !instant && flow.until === from)
  );
}

/* Which share of each part of the recording was spent in turns of a loop. */
function busyBins(bins) {
  const band = new Float64Array(bins);
  const wide = END / bins;
  for (const lane of MADE) {
    if (lane.kind !== 'loop') continue;
    for (let i = 0; i < lane.count; i++) {
      if (lane.depth[i] !== 0 || !/^(asyncio|step|callback)$/.test(TEXTS[lane.category[i]])) continue;
      const [start, end] = [lane.start[i], lane.end[i]];
      for (let bin = Math.floor(start / wide); bin < bins && bin * wide <= end; bin++) {
        const inside = Math.min(end, (bin + 1) * wide) - Math.max(start, bin * wide);
        if (bin >= 0 && inside > 0) band[bin] += inside / wide;
      }
    }
  }
  return band;
}
