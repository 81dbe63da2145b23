// Sends the video that is chosen or dropped, without its name, and shows what the model says of it.

const [form, state, answer] = ["drop", "status", "answer"].map(id => document.getElementById(id));
let asked = 0; // a later video takes the place of one that is still waited for

async function said(video) {
  if (video.size > Number(form.dataset.most)) throw new Error("this video is too large");
  const kind = { "Content-Type": "application/octet-stream" };
  const response = await fetch("/predict?pictures=true", { method: "POST", headers: kind, body: video });
  const json = (response.headers.get("Content-Type") || "").startsWith("application/json");
  const told = json ? await response.json() : { error: await response.text() };
  if (!response.ok) throw new Error(told.error);
  return told;
}

function show(told) {
  const rows = Object.entries(told.probabilities).map(([name, value]) => {
    const row = make("tr", { className: name === told.predicted ? "chosen" : "" });
    row.append(make("td", { textContent: name }), make("td", { textContent: value.toFixed(3) }));
    return row;
  });
  answer.querySelector("tbody").replaceChildren(...rows);
  document.getElementById("said").textContent = told.predicted;
  const { count, layers } = told.pictures;
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The video as the model saw it, played");
  const pictures = layers.map(({ uri, alt, title }) => {
    const picture = make("img", { src: uri, alt, hidden: true });
    picture.dataset.title = title;
    return picture;
  });
  const film = make("figure", { className: "player", hidden: true }, canvas, ...pictures);
  film.dataset.count = count;
  document.getElementById("film").replaceChildren(film);
  answer.hidden = false;
  return player(film);
}

async function send(video) {
  const mine = ++asked;
  answer.hidden = true;
  state.textContent = "The model is asked …";
  try {
    const told = await said(video);
    if (mine !== asked) return;
    await show(told);
    state.textContent = "The model has answered.";
  } catch (error) {
    if (mine === asked) state.textContent = `No answer: ${error.message}.`;
  }
}

const chooser = document.getElementById("video");
chooser.onchange = () => chooser.files.length && send(chooser.files[0]);
document.ondragover = event => {
  event.preventDefault();
  form.classList.add("over");
};
document.ondragleave = () => form.classList.remove("over");
document.ondrop = event => {
  event.preventDefault();
  form.classList.remove("over");
  if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
};
