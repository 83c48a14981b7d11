"use strict";
// Values under the pointer or the arrow keys, zoom, copying, and light or dark. The page is whole without it.
const said = document.getElementById("said");
const make = (name, kind, parent, text) => {
  const found = document.createElement(name);
  found.className = kind;
  if (text !== undefined) found.textContent = text;
  parent.append(found);
  return found;
};

async function copy(button) {
  const text = button.parentElement.querySelector("pre").textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page that was opened from a file may not be allowed to
    const area = make("textarea", "sr", document.body);
    area.value = text;
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const word = button.firstChild;
  word.textContent = done ? "Copied" : "Select and copy";
  said.textContent = done ? "Copied the statement" : "Copying is not allowed here";
  setTimeout(() => { word.textContent = "Copy"; }, 1600);
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const details of unfolded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of unfolded) details.open = false; });

function written(value, isPower) {
  if (value === null || value === undefined) return "-";
  const size = Math.abs(value);
  if (size !== 0 && (size >= (isPower ? 1e5 : 1e15) || size < 1e-3)) {
    const [factor, power] = value.toExponential(4).split("e");
    return `${Number(factor)}e${Number(power)}`;
  }
  if (size < 1e3 || isPower) return String(Number(value.toPrecision(5)));
  const [unit, letter] = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]].find(([unit]) => size >= unit);
  return `${Number((value / unit).toPrecision(5))}${letter}`;
}

function places(low, high, isLog, most) {  // of ticks, from positions on a straight scale
  if (isLog && high - low >= 2) {
    const stride = Math.ceil((Math.floor(high) - Math.ceil(low) + 1) / most);
    const found = [];
    for (let power = Math.ceil(low); power <= high; power += stride) found.push(power);
    return found;
  }
  const [from, to] = isLog ? [10 ** low, 10 ** high] : [low, high];
  const rough = (to - from) / most, scale = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((nice) => nice * scale).find((nice) => nice >= rough * (1 - 1e-9));
  const found = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to * (1 + 1e-12) + step * 1e-9; k++) found.push(k * step);
  return isLog ? found.filter((value) => value > 0).map(Math.log10) : found;
}

class Plot {
  constructor(root) {
    this.root = root;
    this.plane = root.querySelector(".plane");
    this.marks = root.querySelector(".marks");
    this.readout = root.querySelector(".readout");
    const data = JSON.parse(root.querySelector("script").textContent);
    this.axes = { x: data.x, y: data.y };
    for (const axis of Object.values(this.axes)) {
      axis.forward = (value) => (value === null ? NaN : axis.log ? Math.log10(value) : value);
      [axis.first, axis.last] = [axis.forward(axis.low), axis.forward(axis.high)];
      axis.share = (value) => (axis.forward(value) - axis.first) / (axis.last - axis.first);
    }
    this.series = data.series.map((one) => ({
      ...one,
      at: one.x.map((x, k) => [this.axes.x.share(x), this.axes.y.share(one.y[k]), k])
        .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)).sort((a, b) => a[0] - b[0]),
    })).filter((one) => one.at.length);
    this.here = make("span", "here", this.plane);
    this.box = make("span", "box", this.plane);
    this.here.hidden = this.box.hidden = true;
    this.which = 0;
    this.place = -1;
    this.window = { x: [0, 1], y: [0, 1] };
    this.listen();
  }

  listen() {
    const tools = make("div", "tools", this.root);
    this.root.insertBefore(tools, this.plane);
    for (const [text, name, act] of [
      ["+", "Zoom in", () => this.zoom(0.5)], ["−", "Zoom out", () => this.zoom(2)], ["↺", "Show all", () => this.reset()],
    ]) {
      const button = make("button", "", tools, text);
      button.type = "button";
      button.setAttribute("aria-label", name);
      button.addEventListener("click", act);
    }
    this.root.addEventListener("keydown", (event) => { if (event.target === this.root) this.key(event); });
    this.plane.addEventListener("pointermove", (event) => this.move(event));
    this.plane.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) {
        this.start = this.across(event);
        this.plane.setPointerCapture(event.pointerId);
        event.preventDefault();
        this.root.focus({ preventScroll: true });
      } else this.move(event);
    });
    this.plane.addEventListener("pointerup", (event) => this.drop(event));
    this.plane.addEventListener("pointercancel", () => { this.start = undefined; this.box.hidden = true; });
    this.plane.addEventListener("dblclick", () => this.reset());
  }

  across(event) {
    const box = this.plane.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  }

  seen(name, share) {  // where a place of the whole plane lies on what is shown of it
    const [low, high] = this.window[name];
    return (share - low) / (high - low);
  }

  move(event) {
    const box = this.plane.getBoundingClientRect();
    if (this.start !== undefined) {
      const end = this.across(event);
      this.box.hidden = false;
      this.box.style.left = `${100 * Math.min(this.start, end)}%`;
      this.box.style.width = `${100 * Math.abs(end - this.start)}%`;
      return;
    }
    let best = [Infinity];
    this.series.forEach((one, which) => one.at.forEach(([x, y], place) => {
      const right = this.seen("x", x) * box.width - (event.clientX - box.left);
      const up = (1 - this.seen("y", y)) * box.height - (event.clientY - box.top);
      const far = right * right + up * up;
      if (far < best[0]) best = [far, which, place];
    }));
    if (best[0] < Infinity) this.show(best[1], best[2]);
  }

  drop(event) {
    const start = this.start, end = this.across(event);
    this.start = undefined;
    this.box.hidden = true;
    if (start === undefined || Math.abs(end - start) < 0.02) return;
    const [low, high] = this.window.x, ends = [start, end].sort((a, b) => a - b);
    this.window.x = ends.map((share) => low + share * (high - low));
    this.fit();
    this.draw();
  }

  fit() {  // the vertical window to what is seen of all series, with a little room
    const seen = this.series.flatMap((one) => one.at).filter(([x]) => x >= this.window.x[0] && x <= this.window.x[1]);
    if (seen.length < 2) return;
    const values = seen.map(([, y]) => y);
    const [low, high] = [Math.min(...values), Math.max(...values)], room = Math.max(0.08 * (high - low), 0.01);
    this.window.y = [low - room, high + room];
  }

  zoom(factor) {
    const point = this.series[this.which]?.at[this.place];
    for (const name of ["x", "y"]) {
      const [low, high] = this.window[name], at = point ? point[name === "x" ? 0 : 1] : (low + high) / 2;
      const width = Math.min(1, Math.max(0.005, (high - low) * factor));
      const from = Math.min(1 - width, Math.max(0, at - width / 2));
      this.window[name] = [from, from + width];
    }
    this.draw();
  }

  reset() {
    this.window = { x: [0, 1], y: [0, 1] };
    this.draw();
  }

  key(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
    const turns = { ArrowDown: 1, ArrowUp: -1 };
    if (event.ctrlKey || event.metaKey || event.altKey || !this.series.length) return;
    if (event.key in steps) {
      const last = this.series[this.which].at.length - 1;
      this.show(this.which, Math.min(last, Math.max(0, this.place + steps[event.key])));
    } else if (event.key in turns) {
      const from = this.series[this.which].at[Math.max(0, this.place)][0];
      const which = (this.which + turns[event.key] + this.series.length) % this.series.length;
      const gaps = this.series[which].at.map(([x]) => Math.abs(x - from));
      this.show(which, gaps.indexOf(Math.min(...gaps)));
    } else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "0" || event.key === "Escape") this.reset();
    else return;
    event.preventDefault();
  }

  show(which, place) {
    [this.which, this.place] = [which, place];
    const one = this.series[which], [x, y, k] = one.at[place], { x: across, y: upright } = this.axes;
    const unit = (axis) => (axis.unit ? ` ${axis.unit}` : "");
    const interval = one.lower && one.lower[k] !== null
      ? ` (from ${written(one.lower[k], upright.power)} to ${written(one.upper[k], upright.power)})` : "";
    const name = one.label && one.label !== upright.label ? `${one.label}: ` : "";
    this.readout.textContent = `${name}${upright.label} ${written(one.y[k], upright.power)}${unit(upright)}${interval}`
      + ` at ${across.label} ${written(one.x[k], across.power)}${unit(across)}`;
    this.point(x, y);
  }

  point(x, y) {
    const [left, bottom] = [this.seen("x", x), this.seen("y", y)];
    this.here.hidden = left < 0 || left > 1 || bottom < 0 || bottom > 1;
    this.here.style.left = `${100 * left}%`;
    this.here.style.bottom = `${100 * bottom}%`;
  }

  draw() {
    const { x: [left, right], y: [low, high] } = this.window, side = 1000;
    const [wide, tall] = [1 / (right - left), 1 / (high - low)];
    this.marks.setAttribute("transform",
      `matrix(${wide} 0 0 ${tall} ${-left * wide * side} ${-(1 - high) * tall * side})`);
    for (const tick of this.plane.querySelectorAll(".tick")) tick.remove();
    for (const name of ["x", "y"]) {
      const axis = this.axes[name], from = axis.first, span = axis.last - axis.first;
      const [start, end] = this.window[name].map((share) => from + share * span);
      places(start, end, axis.log, 7).forEach((at, number) => {
        const tick = make("span", `tick ${name}${number % 2 ? " minor" : ""}`, this.plane);
        make("b", "", tick, written(axis.log ? 10 ** at : at, axis.power));
        tick.style[name === "x" ? "left" : "bottom"] = `${100 * this.seen(name, (at - from) / span)}%`;
      });
    }
    for (const label of this.plane.querySelectorAll(".label")) {
      const [x, y] = [Number(label.dataset.x), Number(label.dataset.y)];
      const [across, up] = [label.classList.contains("level") ? x : this.seen("x", x),
        label.classList.contains("end") ? y : this.seen("y", y)];
      label.hidden = across < 0 || across > 1 || up < 0 || up > 1;
      label.style.left = `${100 * across}%`;
      label.style.bottom = `${100 * up}%`;
    }
    const point = this.series[this.which]?.at[this.place];
    if (point) this.point(point[0], point[1]);
  }
}

for (const root of document.querySelectorAll(".plot")) new Plot(root);
