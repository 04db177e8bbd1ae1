// One task on the screen: pictures that appear together, a least viewing time, an answer that is confirmed.

let current = null; // {trial, task, clock, confirm, giveUp, open: may be answered, then: what comes after}

function taskScreen(trial, task, confirm) {
  const question = element("h2", { id: "question", tabIndex: -1 }, session.question[trial.kind]);
  const note = element("p", { id: "feedback", role: "status" });
  return [question, task.body, note, buttons(confirm)];
}

async function present(trial, then) {
  const confirm = mainButton(word("loading"), () => answer());
  const task = makeTask(trial, session.ties);
  const clock = makeClock();
  current = { trial, task, clock, confirm, giveUp: () => {}, open: false, then };
  confirm.setAttribute("aria-disabled", "true");
  task.body.classList.add("waiting");
  show("task", ...taskScreen(trial, task, confirm));
  const mine = current;
  try {
    await decoded(task.body);
  } catch {
    if (mine === current) pictureTrouble(trial, then);
    return;
  }
  if (mine === current) reveal();
}

// Tried again by a press, or by itself while the message is still there.
function pictureTrouble(trial, then) {
  current = null;
  const again = mainButton(word("again"), () => present(trial, then));
  show("message", heading(word("not_loaded")), buttons(again));
  setTimeout(() => again.isConnected && present(trial, then), 3000);
}

const GAP = 20; // pixels between pictures, borders included
const BESIDE = 288; // pixels of height that question, first captions and buttons take, as in the style
const CAPTION = 64; // pixels that each further row takes beside its pictures

const UNEVEN = 0.9; // how much smaller pictures may be where that fills the last row

// A picture with its hole that is not in the one row of all stands above the others, unless these fill rows with it:
// "left" and "right" are always beside each other.
function grid(count, columns, input) {
  const above = input && columns < count && count % columns > 0;
  const others = count - (above ? 1 : 0);
  return { columns, above, rows: Math.ceil(others / columns) + (above ? 1 : 0), even: others % columns === 0 };
}

// The grid that makes the pictures largest; on a phone one of two columns, and the page is scrolled.
function gridFor(count, input, width, ratio) {
  if (innerWidth <= 640) return grid(count, Math.min(count, 2), input);
  const room = [Math.min(innerWidth, 1760) - 32, Math.max(innerHeight - BESIDE, 160)];
  const side = ({ columns, rows, even }) =>
    Math.min(width, room[0] / columns - GAP, ((room[1] - CAPTION * (rows - 1)) / rows) * ratio) * (even ? 1 : UNEVEN);
  const grids = [grid(count, count, input)];
  for (let columns = count - 1; columns > 1; columns--) grids.push(grid(count, columns, input));
  return grids.reduce((best, one) => (side(one) > side(best) + 1 ? one : best));
}

// All pictures of a task take the same place; small ones are enlarged by a whole number.
function fit(body) {
  const images = body.querySelectorAll("img");
  const { naturalWidth, naturalHeight } = images[0];
  const width = naturalWidth * Math.max(1, Math.ceil(256 / naturalWidth));
  const ratio = naturalWidth / naturalHeight;
  const pictures = body.querySelector(".pictures");
  const input = images.length > 1 && pictures.firstElementChild.matches("figure");
  const { columns, rows, above } = gridFor(images.length, input, width, ratio);
  const values = { natural: `${width}px`, ratio, columns, rows };
  pictures.classList.toggle("above", above);
  for (const [name, value] of Object.entries(values)) pictures.style.setProperty(`--${name}`, value);
}

addEventListener("resize", () => {
  if (current && !current.task.body.classList.contains("waiting")) fit(current.task.body);
});

function reveal() {
  const { task, clock, confirm } = current;
  fit(task.body);
  task.body.classList.remove("waiting");
  confirm.textContent = word("wait");
  if (!stage.hidden) clock.start();
  current.giveUp = whenSeen(clock, session.minimum_s, openForAnswer);
  preloadAfter(current.trial);
}

function openForAnswer() {
  const { confirm } = current;
  current.open = true;
  confirm.replaceChildren(word("confirm"), keyHint("Enter"));
  confirm.removeAttribute("aria-disabled");
  announce(connectionNote());
}

// The next task's pictures are fetched while this one is looked at.
function preloadAfter(trial) {
  const following = session.trials[session.trials.indexOf(trial) + 1];
  if (!following || study.mode !== "server") return;
  for (const file of [following.input, ...following.shown]) if (file) new Image().src = sourceOf(file);
}

function answer() {
  const { trial, task, clock, open } = current;
  const choice = task.choice();
  if (!open) return announce(word("too_early"));
  if (choice === null) return announce(task.missing ? task.missing() : word("choose_first"));
  clock.end();
  const seconds = Math.round(1000 * clock.seconds()) / 1000;
  addAnswer({ trial: trial.trial, choice, seconds, at: new Date().toISOString() });
  if (trial.practice) return afterPractice(choice);
  finishTask();
}

function finishTask() {
  const { then } = current;
  current = null;
  then();
}

function afterPractice(choice) {
  const { trial, task, confirm } = current;
  task.mark(trial.right);
  document.getElementById("feedback").textContent = feedback(trial, choice);
  confirm.replaceChildren(word("go_on"), keyHint("Enter"));
  confirm.onclick = finishTask;
  current.open = false;
  current.done = true;
  confirm.focus({ preventScroll: true });
}

function dropTask() {
  if (!current) return;
  current.giveUp();
  current.clock.end();
  current = null;
}
