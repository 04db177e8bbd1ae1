// The three kinds of task. Each gives {body, choice, key, mark}: what is shown, the choice made so far (null when there
// is none), what a key does, and how the expected choice is marked after practice.

function sourceOf(file) {
  if (study.mode === "server") return `picture/${file}.png`;
  return `data:image/webp;base64,${document.getElementById(`picture-${file}`).textContent.trim()}`;
}

function picture(file, alt) {
  return element("img", { src: sourceOf(file), alt, draggable: false, decoding: "sync" });
}

// Resolves when every picture can be shown at once, so that none is seen before another.
function decoded(root) {
  return Promise.all([...root.querySelectorAll("img")].map((image) => image.decode()));
}

function keyHint(key) {
  return element("kbd", { "aria-hidden": "true" }, key);
}

function inputFigure(trial) {
  if (!trial.input) return [];
  const caption = element("figcaption", { className: "caption" }, word("input"));
  return [element("figure", { className: "cell" }, picture(trial.input, word("input_alt")), caption)];
}

function radio(value, key, text, ...before) {
  const input = element("input", { type: "radio", name: "choice", value });
  const caption = element("span", { className: "caption" }, input, keyHint(key), text);
  return element("label", { className: before.length ? "cell option" : "option" }, ...before, caption);
}

function radioGroup(...children) {
  return element("div", { className: "task", role: "radiogroup", "aria-labelledby": "question" }, ...children);
}

function radioTask(body, keys) {
  const inputs = () => [...body.querySelectorAll("input[type=radio]")];
  return {
    body,
    choice: () => inputs().find((input) => input.checked)?.value ?? null,
    key(event) {
      const input = inputs().find((one) => one.value === keys[event.key]);
      if (!input) return false;
      input.checked = true;
      input.focus({ preventScroll: true });
      return true;
    },
    mark(right) {
      for (const input of inputs()) {
        input.disabled = true;
        input.closest("label").classList.toggle("right", input.value === right);
      }
    },
  };
}

function pairTask(trial, ties) {
  const sides = ["left", "right"].map((side, i) => {
    return radio(side, String(i + 1), word(side), picture(trial.shown[i], word("picture_alt", { n: i + 1 })));
  });
  const pictures = element("div", { className: "pictures" }, ...inputFigure(trial), ...sides);
  const body = radioGroup(pictures);
  const keys = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right" };
  if (ties) {
    body.append(element("div", { className: "answers" }, radio("tie", "3", word("tie"))));
    Object.assign(keys, { 3: "tie", ArrowDown: "tie" });
  }
  return radioTask(body, keys);
}

function realTask(trial) {
  const shown = element("figure", { className: "cell" }, picture(trial.shown[0], word("picture_alt", { n: 1 })));
  const pictures = element("div", { className: "pictures" }, ...inputFigure(trial), shown);
  const two = [radio("real", "1", word("real")), radio("fake", "2", word("fake"))];
  const body = radioGroup(pictures, element("div", { className: "answers" }, ...two));
  return radioTask(body, { 1: "real", ArrowLeft: "real", 2: "fake", ArrowRight: "fake" });
}

function rankText(place) {
  if (place < 0) return word("rank_none");
  return place === 0 ? word("rank_best") : word("rank_place", { n: place + 1 });
}

function drawRanks(cells, order) {
  cells.forEach((cell, i) => {
    const place = order.indexOf(i);
    cell.setAttribute("aria-pressed", String(place >= 0));
    cell.setAttribute("aria-label", `${word("picture_alt", { n: i + 1 })}, ${rankText(place)}`);
    cell.querySelector(".place").textContent = place < 0 ? "" : String(place + 1);
  });
}

function rankCell(file, i, act) {
  const place = element("span", { className: "place", "aria-hidden": "true" });
  const name = word("picture_alt", { n: i + 1 });
  const caption = element("span", { className: "caption" }, keyHint(String(i + 1)), name, place);
  const cell = button("", act, "cell option");
  cell.append(picture(file, ""), caption);
  return cell;
}

function rankTask(trial) {
  let order = [];
  const total = trial.shown.length;
  const set = (next) => {
    order = next;
    drawRanks(cells, order);
  };
  const toggle = (i) => {
    set(order.includes(i) ? order.filter((one) => one !== i) : [...order, i]);
    tell(cells[i].ariaLabel);
  };
  const cells = trial.shown.map((file, i) => rankCell(file, i, () => toggle(i)));
  set([]);
  const pictures = element("div", { className: "pictures" }, ...inputFigure(trial), ...cells);
  const help = element("p", { className: "small" }, word("rank_help", { n: total }));
  const reset = button(word("rank_reset"), () => set([]), "quiet");
  const step = (by) => {
    const at = cells.indexOf(document.activeElement);
    cells[at < 0 ? 0 : (at + by + total) % total].focus();
  };
  const below = element("div", { className: "answers" }, reset);
  const body = element("div", { className: "task rank" }, help, pictures, below);
  return {
    body,
    choice: () => (order.length === total ? order : null),
    missing: () => word("rank_first", { n: total - order.length }),
    key(event) {
      const number = Number(event.key);
      if (number >= 1 && number <= total) toggle(number - 1);
      else if (event.key === "Backspace") set(order.slice(0, -1));
      else if (event.key === "ArrowRight") step(1);
      else if (event.key === "ArrowLeft") step(-1);
      else return false;
      return true;
    },
    mark: () => [...cells, reset].forEach((cell) => (cell.disabled = true)),
  };
}

function makeTask(trial, ties) {
  if (trial.kind === "pair") return pairTask(trial, ties);
  return trial.kind === "real" ? realTask(trial) : rankTask(trial);
}

// What is said after practice; `right` is the expected choice, where there is one.
function feedback(trial, choice) {
  const { kind, right } = trial;
  if (right === undefined) return word("practice_taken");
  const chosen = kind === "rank" ? choice.at(-1) : choice; // of a ranking only the last place is expected
  const said = chosen === right ? [word("practice_right")] : [];
  if (kind === "real") said.push(word(right === "real" ? "practice_is_real" : "practice_is_fake"));
  else if (!said.length && kind === "pair") said.push(word("practice_pair"));
  else if (!said.length) said.push(word("practice_rank", { n: right + 1 }));
  return said.join(" ");
}
