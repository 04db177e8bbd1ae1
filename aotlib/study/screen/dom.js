// What all parts of the page use: its data, its words, making elements, changing screens.

const study = JSON.parse(document.getElementById("study").textContent);
const stage = document.getElementById("stage");

function word(name, values = {}) {
  return study.words[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

// Text only ever becomes text, never markup, whatever a plan's title or question holds.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function paragraphs(text) {
  return text.split(/\n\s*\n/).filter((part) => part.trim()).map((part) => element("p", {}, part.trim()));
}

function button(text, act, className = "") {
  return element("button", { type: "button", className, onclick: act }, text);
}

function mainButton(text, act) {
  return button(text, act, "main");
}

function heading(text) {
  return element("h2", { tabIndex: -1 }, text);
}

// Changes the screen; the reader of a screen reader is taken to its heading.
function show(name, ...children) {
  document.body.dataset.screen = name;
  stage.replaceChildren(...children);
  announce(connectionNote());
  scrollTo(0, 0);
  stage.querySelector("h2")?.focus({ preventScroll: true });
}

function buttons(...them) {
  return element("div", { className: "buttons" }, ...them);
}

// Said to a screen reader, and shown below what is on the screen.
function announce(text) {
  document.getElementById("said").textContent = text;
}

// Said to a screen reader only: who sees the page sees it on the pictures.
function tell(text) {
  document.getElementById("heard").textContent = text;
}

function showProgress(text, value, total) {
  const bar = document.getElementById("bar");
  bar.hidden = text === null;
  if (text === null) return;
  document.getElementById("count").textContent = text;
  const progress = document.getElementById("progress");
  progress.max = total;
  progress.value = value;
}
