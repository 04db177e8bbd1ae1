// Keys, and how the page begins: from a file with the number of a session, from a server with a place that it gives.

const PRESSABLE = "button, a, textarea, input:not([type=radio])";

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return; // the browser's own
  if (event.target.closest?.("textarea, input:not([type=radio])")) return; // something is being written
  if (handleKey(event)) event.preventDefault();
});

function handleKey(event) {
  const onButton = event.target.closest?.(PRESSABLE);
  if (event.key === "Enter") return pressEnter(onButton);
  if (event.key === "p" || event.key === "P" || event.key === "Escape") return pressPause(event.key);
  if (!current || current.done || stage.hidden || current.task.body.classList.contains("waiting")) return false;
  return current.task.key(event);
}

// Enter confirms; on a button it presses that button, but on a picture of a full ranking it confirms, too.
function pressEnter(onButton) {
  const ranked = onButton?.classList.contains("option") && current?.task.choice() !== null;
  if (onButton && !ranked) return false;
  const place = stage.hidden ? document.getElementById("paused") : stage;
  const main = place.querySelector("button.main");
  main?.click();
  return Boolean(main);
}

function pressPause(key) {
  if (stage.hidden) closePause();
  else if (key !== "Escape") openPause();
  return true;
}

function beginFile(number) {
  state = recall(number);
  const found = study.sessions[number];
  if (state?.agreed) return enter(found);
  consent(() => {
    state = newState({ session: Number(number), rater: randomId() });
    keep();
    enter(found);
  });
}

function askSession(wrong = "") {
  const numbers = Object.keys(study.sessions).map(Number);
  const range = { first: Math.min(...numbers), last: Math.max(...numbers) };
  const input = element("input", { id: "number", inputMode: "numeric", autocomplete: "off", required: true });
  const label = element("label", { htmlFor: "number" }, word("session_label", range));
  const open = element("button", { type: "submit", className: "main" }, word("session_open"));
  const form = element("form", {}, label, input, buttons(open));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    chooseSession(input.value.trim());
  });
  const said = wrong ? word("session_wrong", { number: wrong, ...range }) : "";
  const note = element("p", { className: "note", role: "alert", hidden: !said }, said);
  show("session", heading(word("session_title")), note, form);
}

function chooseSession(number) {
  if (number === "") return askSession();
  return Object.hasOwn(study.sessions, number) ? beginFile(number) : askSession(number);
}

function startFile() {
  const numbers = Object.keys(study.sessions);
  const asked = new URLSearchParams(location.search).get("session");
  chooseSession(asked ?? (numbers.length === 1 ? numbers[0] : ""));
}

async function resume() {
  const reply = await post("api/resume", {}, state.token).catch(() => null);
  if (reply?.status === 200) return enter(reply.said.session, reply.said.answered);
  if (reply?.status !== 401) return trouble(resume);
  if (state.waiting.length) return rescue();
  forget();
  consent(takePlace);
}

// The server has lost this rater, but the browser still holds answers.
function rescue() {
  const text = element("p", {}, word("unknown_place"));
  show("end", heading(study.title), text, ...savingParts(), buttons(anotherButton()));
}

// The same number is sent until a place has come: a reply that gets lost takes no second place.
async function takePlace() {
  state = state ?? newState({ nonce: randomId() });
  keep();
  const reply = await post("api/begin", { viewport: viewport(), nonce: state.nonce, invitation }).catch(() => null);
  if (reply?.status === 403) return askInvitation();
  if (reply?.status === 409) {
    forget();
    return show("message", heading(word("full_title")), ...paragraphs(word("full")));
  }
  if (reply?.status !== 200) return trouble(takePlace);
  const { token, rater, session: found } = reply.said;
  state = newState({ session: found.session, rater, token });
  keep();
  enter(found);
}

let invitation = new URLSearchParams(location.search).get("invitation") ?? "";

function askInvitation() {
  forget();
  const input = element("input", { id: "invitation", autocomplete: "off", required: true });
  const label = element("label", { htmlFor: "invitation" }, word("invitation_label"));
  const open = element("button", { type: "submit", className: "main" }, word("session_open"));
  const form = element("form", {}, label, input, buttons(open));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    invitation = input.value.trim();
    takePlace();
  });
  const note = element("p", { className: "note", role: "alert", hidden: !invitation }, word("invitation_wrong"));
  show("invitation", heading(word("invitation_title")), note, form);
}

function trouble(again) {
  show("message", heading(study.title), ...paragraphs(word("busy")), buttons(mainButton(word("again"), again)));
}

function startServer() {
  state = recall();
  return state?.token ? resume() : consent(takePlace);
}

const pauseButton = document.getElementById("pause");
pauseButton.textContent = word("pause");
pauseButton.addEventListener("click", openPause);
addEventListener("online", () => deliver());
addEventListener("beforeunload", (event) => {
  if (!keeps && state?.answers.length) event.preventDefault(); // the answers are nowhere else
});
if (study.mode === "server") startServer();
else startFile();
