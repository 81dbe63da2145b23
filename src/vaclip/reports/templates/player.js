"use strict";
// Plays frames that lie side by side in one picture, under the maps that are switched on.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const RATE = 8; // frames a second
const COLOURS = [[255, 205, 90], [120, 200, 255], [140, 235, 150], [255, 150, 220], [255, 150, 110]];

function tinted(picture, colour) {
  const canvas = make("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const strength = pixels.data[at];
    pixels.data.set([...colour, 0.65 * strength], at);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

async function player(box) {
  const count = Number(box.dataset.count);
  const [frames, ...layers] = all("img", box);
  await Promise.all([frames, ...layers].map(picture => picture.decode()));
  const canvas = box.querySelector("canvas");
  const [width, height] = [frames.naturalWidth / count, frames.naturalHeight];
  const context = canvas.getContext("2d");
  const buttons = layers.map((layer, number) => {
    const button = make("button", { type: "button", textContent: layer.dataset.title });
    button.picture = tinted(layer, COLOURS[number % COLOURS.length]);
    button.setAttribute("aria-pressed", number === 0);
    button.onclick = () => {
      button.setAttribute("aria-pressed", button.ariaPressed !== "true");
      draw();
    };
    return button;
  });
  const slider = make("input", { type: "range", min: 0, max: count - 1, value: 0, oninput: () => draw() });
  slider.setAttribute("aria-label", "Frame");
  const play = make("button", { type: "button", textContent: "Play" });
  const beside = make("button", { type: "button", textContent: "Side by side", hidden: layers.length < 2 });
  beside.setAttribute("aria-pressed", false);
  beside.onclick = () => {
    beside.setAttribute("aria-pressed", beside.ariaPressed !== "true");
    draw();
  };
  const drawPart = (picture, left = 0) => {
    const part = picture.width / count;
    context.drawImage(picture, slider.value * part, 0, part, picture.height, left, 0, width, height);
  };
  const name = (text, left) => {
    Object.assign(context, { font: `${Math.max(9, height / 16)}px sans-serif`, lineWidth: 3, fillStyle: "white" });
    context.strokeText(text, left + 4, height - 5, width - 8);
    context.fillText(text, left + 4, height - 5, width - 8);
  };
  function draw() {
    const shown = buttons.filter(button => button.ariaPressed === "true");
    const panels = beside.ariaPressed === "true" ? Math.max(1, shown.length) : 1;
    canvas.width = panels * width; // which clears it too
    canvas.height = height;
    for (let panel = 0; panel < panels; panel++) drawPart(frames, panel * width);
    shown.forEach((button, number) => {
      drawPart(button.picture, (number % panels) * width);
      if (panels > 1) name(button.textContent, number * width);
    });
  }
  let timer = null;
  play.onclick = () => {
    clearInterval(timer);
    timer = timer ? null : setInterval(() => {
      slider.value = (Number(slider.value) + 1) % count;
      draw();
    }, 1000 / RATE);
    play.textContent = timer ? "Pause" : "Play";
  };
  box.append(make("p", { className: "tools" }, play, slider, ...buttons, beside));
  box.hidden = false;
  draw();
}

all(".player").forEach(player);
