"use strict";
// The page of `vaclip annotate`. Places are shares of the picture, times are seconds of the film.
const data = JSON.parse(document.getElementById("data").textContent);
const t = data.texts;
const $ = (id) => document.getElementById(id);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

async function send(address, body) {
  // The page of another session in this browser takes the cookie; what is done here is kept still.
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${data.token}` };
  const answer = await fetch(address, {
    method: "POST", headers,
    body: JSON.stringify({ token: data.token, page: data.page, ...body }),
  });
  // What the server could not do, such as write to a full disk, is tried again.
  const refused = answer.status < 500;
  if (!answer.ok) throw Object.assign(new Error(await answer.text()), { refused });
  return answer.json();
}

function begin() {
  $("begin").addEventListener("submit", async (event) => {
    event.preventDefault();
    const knows = new FormData(event.target).get("knows") === "yes";
    try {
      location.assign((await send("/begin", { knows })).next);
    } catch (error) {
      $("told").textContent = error.refused ? error.message : t.gone;
    }
  });
}

function show() {
  const { protocol } = data;
  const film = $("film"), stage = $("stage"), over = $("over"), pen = over.getContext("2d");
  const state = { marks: [], seconds: 0, nothing: false, diagnosis: null, confidence: null,
                  comment: "", returned: 0, history: [], ...data.state };
  const history = state.history;  // kept with the rest, so that what was saved can be undone too
  const cursor = { x: 0.5, y: 0.5, shown: false };
  let pressed = null;  // what the pointer is doing
  let chosen = -1;  // which shape
  let saying = state.diagnosis !== null;

  // What was done is kept at once; while the server is away the latest state waits for it.
  let waiting = false, busy = false, since = performance.now(), leaving = false;
  function tick() {
    const now = performance.now();
    if (document.visibilityState === "visible") state.seconds += (now - since) / 1000;
    since = now;
  }
  document.addEventListener("visibilitychange", () => { since = performance.now(); });
  setInterval(tick, 500);
  async function keep() {
    waiting = true;
    if (busy || leaving) return;
    busy = true;
    while (waiting && !leaving) {
      waiting = false;
      try {
        await send(`/keep/${data.number}`, { state });
        $("kept").textContent = t.kept;
        $("kept").classList.remove("wrong");
      } catch (error) {
        $("kept").textContent = error.refused ? error.message : t.not_kept;
        $("kept").classList.add("wrong");
        waiting = true;
        if (error.refused) break;
        await new Promise((done) => setTimeout(done, 1500));
      }
    }
    busy = false;
  }
  window.addEventListener("beforeunload", (event) => { if (waiting || busy) event.preventDefault(); });
  function changed(marks) {
    history.push(state.marks);
    if (history.length > 10) history.shift();
    state.marks = marks;
    if (marks.length) state.nothing = false;
    after();
  }
  function after() {
    $("told").textContent = "";
    tick();
    keep();
    refresh();
  }

  // The film.
  const time = () => Math.min(film.currentTime, data.seconds);
  // Whatever is held is let go before another picture comes: it was meant for this one.
  const seek = (to) => { mode.up?.(); film.pause(); film.currentTime = clamp(to, 0, Math.max(0, data.seconds - 0.02)); };
  const step = (by) => seek((Math.round(time() / protocol.every_s) + by) * protocol.every_s);
  const may_play = Boolean($("play"));
  const play = () => {
    if (!may_play) return;
    mode.up?.();
    if (film.paused) film.play(); else film.pause();
  };
  film.addEventListener("loadedmetadata", () => { film.playbackRate = protocol.speed; size(); });
  film.addEventListener("error", () => { $("failed").hidden = false; });
  if (film.error) $("failed").hidden = false;
  for (const name of ["timeupdate", "seeked", "play", "pause"]) film.addEventListener(name, refresh);
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  $("play")?.addEventListener("click", play);
  $("time").addEventListener("input", () => seek(Number($("time").value)));

  // The stage: the picture is blurred by CSS, and what is uncovered is drawn over it.
  function size() {
    // The file's own aspect, since the film's sides were made even.
    const [height, width] = data.size;
    stage.style.maxWidth = `calc(74vh * ${width / height})`;
    film.style.aspectRatio = `${width} / ${height}`;
    const box = stage.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
    over.width = Math.round(box.width * scale);
    over.height = Math.round(box.height * scale);
    const short = Math.min(box.width, box.height);
    film.style.filter = protocol.mode === "bubbles" ? `blur(${protocol.blur * short}px)` : "none";
    refresh();
  }
  new ResizeObserver(size).observe(stage);
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: clamp((event.clientX - box.left) / box.width, 0, 1),
             y: clamp((event.clientY - box.top) / box.height, 0, 1) };
  };
  const X = (x) => x * over.width, Y = (y) => y * over.height;

  const modes = { bubbles, regions, draw };
  const mode = modes[protocol.mode]();

  stage.addEventListener("pointerdown", (event) => {
    if (saying || event.button > 0) return;
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    cursor.shown = false;
    mode.down?.(place(event));
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => mode.move?.(place(event)));
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => mode.up?.());
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") { undo(); event.preventDefault(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("textarea, input, select, button, a") ) return;
    const arrow = arrows[event.key];
    if (arrow) {
      cursor.x = clamp(cursor.x + arrow[0] * 0.02, 0, 1);
      cursor.y = clamp(cursor.y + arrow[1] * 0.02, 0, 1);
      cursor.shown = true;
      mode.move?.(cursor);
      refresh();
    } else if (event.key === " ") play();
    else if (event.key === ",") step(-1);
    else if (event.key === ".") step(1);
    else if (event.key === "Enter" && !event.repeat) {
      cursor.shown = true;
      if (!saying) (mode.enter ?? mode.down)?.({ ...cursor });
    } else if (!saying) { mode.key?.(event.key); return; }
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => { if (event.key === "Enter" && !mode.enter) mode.up?.(); });

  function cross() {
    if (!cursor.shown) return;
    line([[cursor.x - 0.02, cursor.y], [cursor.x + 0.02, cursor.y]], "#fff");
    line([[cursor.x, cursor.y - 0.02], [cursor.x, cursor.y + 0.02]], "#fff");
  }
  function line(points, colour, closed = false) {
    for (const [style, width] of [["#000", 5], [colour, 2.5]]) {  // seen on light and on dark
      pen.beginPath();
      points.forEach(([x, y], n) => (n ? pen.lineTo(X(x), Y(y)) : pen.moveTo(X(x), Y(y))));
      if (closed) pen.closePath();
      pen.strokeStyle = style;
      pen.lineWidth = width * (window.devicePixelRatio || 1);
      pen.stroke();
    }
  }

  function refresh() {
    if (!mode) return;
    pen.clearRect(0, 0, over.width, over.height);
    mode.paint?.();
    cross();
    $("time").value = time();
    $("clock").textContent = `${time().toFixed(1)} / ${data.seconds.toFixed(1)} s`;
    $("nothing").checked = state.nothing;
    $("nothing").disabled = state.marks.length > 0;
    $("undo").disabled = saying || !(history.length || mode.begun?.());
    $("clear").disabled = saying || !state.marks.length;
    $("finish").dataset.step = !$("looked") ? "all" : saying ? "say" : "look";
    mode.tell?.();
  }
  function undo() {
    if (saying || mode.undo?.() || !history.length) return;
    state.marks = history.pop();
    if (state.marks.length) state.nothing = false;
    chosen = Math.min(chosen, state.marks.length - 1);
    after();
  }

  // A press uncovers a circle while it is held.
  function bubbles() {
    const playing = protocol.uncover === "playing";
    const used = () => new Set(state.marks.map((mark) => mark.press)).size;
    function piece() {
      const now = time(), { x, y, from, began, press } = pressed;
      const held = (performance.now() - began) / 1000;
      if (playing) return now > from ? [{ press, x, y, from, to: now, held }] : [];
      const [a, b] = protocol.uncover === "steps" ? [0, 1] : [0.5, 0.5];
      const first = from - a * protocol.every_s;
      return [{ press, x, y, from: Math.max(0, first), to: from + b * protocol.every_s, held }];
    }
    function down(at) {
      if (pressed || (protocol.budget && used() >= protocol.budget)) return;
      if (playing ? film.paused : !film.paused) return;
      const press = Math.max(0, ...state.marks.map((mark) => mark.press)) + 1;
      pressed = { press, ...at, from: time(), began: performance.now(), pieces: [] };
      loop();
    }
    function move(at) {
      if (!pressed || !playing) return;  // a bubble on a standing picture stays where it was made
      if (Math.hypot(at.x - pressed.x, at.y - pressed.y) < 0.01) return;
      pressed.pieces.push(...piece());
      Object.assign(pressed, at, { from: time() });
    }
    function up() {
      if (!pressed) return;
      const made = [...pressed.pieces, ...piece()];
      pressed = null;
      if (made.length) changed([...state.marks, ...made]); else refresh();
    }
    function loop() {
      if (!pressed) return;
      if (playing && time() < pressed.from) { up(); return; }  // it began anew
      refresh();
      requestAnimationFrame(loop);
    }
    film.addEventListener("ended", up);
    window.addEventListener("blur", up);  // the key is let go elsewhere
    film.addEventListener("pause", () => { if (playing) up(); });
    function paint() {
      if (!pressed) return;
      const radius = protocol.radius * Math.min(over.width, over.height);
      pen.save();
      pen.beginPath();
      pen.arc(X(pressed.x), Y(pressed.y), radius, 0, 2 * Math.PI);
      pen.clip();
      pen.drawImage(film, 0, 0, over.width, over.height);
      pen.restore();
    }
    const tell = () => {
      $("count").textContent = protocol.budget
        ? fill(t.bubbles_left, { left: protocol.budget - used() }) : fill(t.bubbles_used, { used: used() });
    };
    return { down, move, up, finish: up, paint, tell };
  }

  // The study's regions as buttons; each is shown where it is in the picture.
  function regions() {
    const names = data.regions.map((region) => region.name), rows = [];
    const of = (name) => state.marks.find((mark) => mark.region === name);
    const put = (name, how) => changed(state.marks.map((m) => (m.region === name ? { ...m, ...how } : m)));
    function toggle(name) {
      if (saying) return;
      changed(of(name) ? state.marks.filter((mark) => mark.region !== name)
                       : [...state.marks, { region: name, confidence: 3, from: null, to: null }]);
    }
    names.forEach((name, n) => {
      const row = document.createElement("div");
      row.className = "region";
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.textContent = n < 9 ? `${n + 1} ${name}` : name;
      button.addEventListener("click", () => toggle(name));
      const sure = document.createElement("select");
      sure.setAttribute("aria-label", fill(t.region_sure, { region: name }));
      for (const value of [1, 2, 3, 4, 5]) sure.add(new Option(value === 1 ? `1 ${t.guess}` : value === 5 ? `5 ${t.certain}` : value, value));
      sure.addEventListener("change", () => put(name, { confidence: Number(sure.value) }));
      const from = Object.assign(document.createElement("button"), { type: "button", textContent: t.from_here });
      from.addEventListener("click", () => {
        const mark = of(name), to = mark.to !== null && mark.to > time() ? mark.to : data.seconds;
        put(name, { from: time(), to });
      });
      const to = Object.assign(document.createElement("button"), { type: "button", textContent: t.to_here });
      to.addEventListener("click", () => {
        const mark = of(name), from = mark.from !== null && mark.from < time() ? mark.from : 0;
        if (time() > from) put(name, { from, to: time() });
      });
      const told = document.createElement("span");
      row.append(button, sure, from, to, told);
      $("regions").append(row);
      rows.push({ name, button, more: [sure, from, to, told], sure, told });
    });
    function tell() {
      for (const { name, button, more, sure, told } of rows) {
        const mark = of(name);
        button.setAttribute("aria-pressed", Boolean(mark));
        for (const one of [button, ...more]) one.disabled = saying;
        for (const one of more) one.hidden = !mark;
        if (!mark) continue;
        sure.value = mark.confidence;
        told.textContent = mark.from === null ? t.whole_clip
          : fill(t.span, { from: mark.from.toFixed(1), to: mark.to.toFixed(1) });
      }
    }
    function paint() {
      for (const { name, box, times, joints } of data.regions) {
        const mark = of(name);
        const now = time();
        const colour = mark && (mark.from === null || (mark.from <= now && now < mark.to)) ? "#ffb000" : "#ffffff66";
        if (box) { line(corners(box), colour, true); continue; }
        let n = times.findIndex((at) => at > now) - 1;
        if (n < 0) n = now < times[0] ? 0 : times.length - 1;
        const radius = 0.03 * data.size[0] / data.size[1];
        for (const [x, y] of joints[n]) line(circle(x, y, radius, 0.03), colour, true);
      }
    }
    const key = (pressed_key) => { const n = Number(pressed_key); if (n >= 1 && n <= names.length) toggle(names[n - 1]); };
    return { key, paint, tell };
  }
  const corners = ([x0, y0, x1, y1]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
  const circle = (x, y, wide, high) => Array.from({ length: 40 }, (_, n) =>
    [x + wide * Math.cos(n * Math.PI / 20), y + high * Math.sin(n * Math.PI / 20)]);

  // Shapes on key frames. Between two moments they move in a straight line, as the study has it.
  function draw() {
    let corner = null;  // of the chosen shape, which is being moved
    const near = 0.02;
    const tool = () => document.querySelector("[name=tool]:checked").value;
    const put = (n, key) => {
      const mark = state.marks[n];
      const keys = mark.keys.filter((one) => Math.abs(one.at - key.at) > 0.005);
      return { ...mark, keys: [...keys, key].sort((a, b) => a.at - b.at) };
    };
    function at(mark, now) {
      const n = mark.keys.findLastIndex((key) => key.at <= now + 0.005);
      if (n < 0 || mark.keys[n].outside) return null;
      const a = mark.keys[n], b = mark.keys[n + 1];
      if (!b || b.outside || b.points.length !== a.points.length) return a.points;
      const share = clamp((now - a.at) / (b.at - a.at), 0, 1);
      return a.points.map(([x, y], i) => [x + share * (b.points[i][0] - x), y + share * (b.points[i][1] - y)]);
    }
    function outline(type, points) {
      if (type === "polygon" || type === "brush") return points;
      const [[x0, y0], [x1, y1]] = points;
      return type === "box" ? corners([x0, y0, x1, y1])
        : circle((x0 + x1) / 2, (y0 + y1) / 2, Math.abs(x1 - x0) / 2, Math.abs(y1 - y0) / 2);
    }
    function hit(where) {
      let best = -1, least = Infinity;
      state.marks.forEach((mark, n) => {
        const points = at(mark, time());
        if (!points) return;
        const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
        const inside = where.x > Math.min(...xs) - near && where.x < Math.max(...xs) + near
          && where.y > Math.min(...ys) - near && where.y < Math.max(...ys) + near;
        const area = (Math.max(...xs) - Math.min(...xs)) * (Math.max(...ys) - Math.min(...ys));
        if (inside && area < least) [best, least] = [n, area];
      });
      return best;
    }
    function down(where) {
      film.pause();
      const type = tool();
      if (type === "polygon") {
        if (!pressed) pressed = { type, points: [] };
        pressed.points.push([where.x, where.y]);
      } else if (type === "move") {
        chosen = hit(where);
        if (chosen < 0) { refresh(); return; }
        const points = at(state.marks[chosen], time());
        corner = points.findIndex(([x, y]) => Math.hypot(x - where.x, y - where.y) < near);
        pressed = { type, start: where, before: points, points };
      } else pressed = { type, points: [[where.x, where.y]] };
      refresh();
    }
    function move(where) {
      if (!pressed || pressed.type === "polygon") return;
      const { type, points } = pressed;
      if (type === "brush") {
        const [x, y] = points.at(-1);
        if (Math.hypot(x - where.x, y - where.y) > 0.004) points.push([where.x, where.y]);
      } else if (type === "move") {
        const by = [where.x - pressed.start.x, where.y - pressed.start.y];
        // A whole shape keeps its form: it goes as far as it lies in the picture.
        const taken = corner < 0 ? pressed.before : [pressed.before[corner]];
        const [dx, dy] = by.map((way, axis) => {
          const along = taken.map((point) => point[axis]);
          return clamp(way, -Math.min(...along), 1 - Math.max(...along));
        });
        const points = pressed.before.map(([x, y], n) =>
          (corner < 0 || corner === n ? [x + dx, y + dy] : [x, y]));
        if (flat(state.marks[chosen].type, points)) return;
        pressed.points = points;
        pressed.moved = true;
      } else pressed.points = [points[0], [where.x, where.y]];
      refresh();
    }
    function up() {
      if (!pressed || pressed.type === "polygon") return;
      const { type, points, moved } = pressed;
      pressed = null;
      if (type === "move") {
        if (moved) changed(state.marks.map((m, n) => (n === chosen ? put(n, { at: time(), points }) : m)));
      } else if (!flat(type, points)) add(type, points);
      refresh();
    }
    // A box or ellipse without a height or width is none.
    const flat = (type, points) => (type === "box" || type === "ellipse")
      && !(points.length === 2 && points[0][0] !== points[1][0] && points[0][1] !== points[1][1]);
    function add(type, points) {
      chosen = state.marks.length;
      changed([...state.marks, { type, keys: [{ at: time(), points }] }]);
    }
    function close() {
      if (pressed?.type !== "polygon") return;
      const { points } = pressed;
      pressed = null;
      if (points.length > 2) add("polygon", points); else refresh();
    }
    const begun = () => pressed?.type === "polygon";
    function undo() {  // of a polygon that is not closed yet its last corner
      if (!begun()) return false;
      pressed.points.pop();
      if (!pressed.points.length) pressed = null;
      refresh();
      return true;
    }
    for (const one of document.querySelectorAll("[name=tool]")) one.addEventListener("change", close);
    const enter = (where) => (pressed && pressed.type !== "polygon" ? (move(where), up()) : down(where));
    const with_chosen = (act) => () => { if (!saying && state.marks[chosen]) act(state.marks[chosen]); };
    const replace = (mark) => changed(state.marks.map((m, n) => (n === chosen ? mark : m)));
    $("close_polygon").addEventListener("click", close);
    $("copy_on").addEventListener("click", with_chosen((mark) => {
      const points = at(mark, time());
      if (!points) return;
      const later = Math.min(time() + protocol.every_s, data.seconds - 0.02);
      seek(later);
      replace(put(chosen, { at: later, points }));
    }));
    $("ends_here").addEventListener("click", with_chosen((mark) => {
      if (time() > mark.keys[0].at + 0.005) replace(put(chosen, { at: time(), outside: true }));
    }));
    $("delete_moment").addEventListener("click", with_chosen((mark) => {
      const keys = mark.keys.filter((key) => Math.abs(key.at - time()) > 0.02);
      if (keys.length && keys.length < mark.keys.length && !keys[0].outside) replace({ ...mark, keys });
    }));
    $("delete_shape").addEventListener("click", with_chosen(() => {
      const rest = state.marks.filter((_, n) => n !== chosen);
      chosen = -1;
      changed(rest);
    }));
    function paint() {
      state.marks.forEach((mark, n) => {
        const moving = pressed?.type === "move" && n === chosen;
        const points = moving ? pressed.points : at(mark, time());
        if (points) line(outline(mark.type, points), n === chosen ? "#ffb000" : "#7cc4ff", mark.type !== "brush");
      });
      if (pressed && pressed.type !== "move" && pressed.points.length > 1) {
        line(outline(pressed.type, pressed.points), "#ffb000", pressed.type === "box" || pressed.type === "ellipse");
      } else if (pressed?.points?.length) line(circle(...pressed.points[0], 0.005, 0.005), "#ffb000", true);
    }
    const tell = () => {
      const mark = state.marks[chosen];
      $("shape").textContent = mark ? fill(t.shape, { number: chosen + 1,
        moments: mark.keys.map((key) => key.at.toFixed(1)).join(", ") }) : t.no_shape;
    };
    return { down, move, up, enter, begun, undo, finish: close, paint, tell, key: (name) => { if (name === "c") close(); } };
  }

  // Saying: after the looking, which then stands still.
  $("undo").addEventListener("click", undo);
  $("clear").addEventListener("click", () => { chosen = -1; changed([]); });
  $("nothing").addEventListener("change", () => { state.nothing = $("nothing").checked; after(); });
  $("looked")?.addEventListener("click", () => {
    mode.finish?.();
    if (!state.marks.length && !state.nothing) { $("told").textContent = t.needs_mark; return; }
    saying = true;
    film.pause();
    refresh();
  });
  $("again")?.addEventListener("click", () => { saying = false; state.returned += 1; after(); });
  const finish = $("finish");
  for (const name of ["diagnosis", "confidence"]) {
    for (const one of finish.querySelectorAll(`[name=${name}]`)) {
      one.checked = String(state[name]) === one.value;
      one.addEventListener("change", () => {
        state[name] = name === "confidence" ? Number(one.value) : one.value;
        after();
      });
    }
  }
  $("comment").value = state.comment;
  $("comment").addEventListener("change", () => { state.comment = $("comment").value; after(); });
  finish.addEventListener("submit", async (event) => {
    event.preventDefault();
    mode.finish?.();
    state.comment = $("comment").value;
    tick();
    $("save").disabled = true;
    $("told").textContent = t.saving;
    leaving = true;
    while (busy) await new Promise((done) => setTimeout(done, 20));
    try {
      const answer = await send(`/save/${data.number}`, { state });
      waiting = false;
      location.assign(answer.next);
    } catch (error) {
      leaving = false;
      $("told").textContent = error.refused ? error.message : t.not_kept;
      $("save").disabled = false;
      if (!error.refused) keep();
    }
  });
  size();
}

if (document.getElementById("begin")) begin();
else if (document.getElementById("stage")) show();
