// The way through a session: consent, how it works, tasks with practice first, pause, end.

let session = null; // what the plan tells this rater: {session, question, minimum_s, ties, trials}
let answered = new Set();

const counted = () => session.trials.filter((trial) => !trial.practice);
const practised = () => session.trials.filter((trial) => trial.practice);
const done = (trials) => trials.filter((trial) => answered.has(trial.trial)).length;

function consent(agreed) {
  const text = [...paragraphs(study.consent), element("p", { className: "note" }, word(`privacy_${study.mode}`))];
  const once = (event) => {
    event.currentTarget.disabled = true; // two presses would take two places
    agreed();
  };
  const choices = buttons(mainButton(word("agree"), once), button(word("disagree"), leftWithoutTrace));
  showProgress(null);
  show("consent", heading(study.title), ...text, choices);
}

function leftWithoutTrace() {
  if (state) forget();
  show("message", heading(word("left_title")), ...paragraphs(word("left_text")));
}

function howTo() {
  const kinds = new Set(session.trials.map((trial) => trial.kind));
  const names = ["pair", "real", "rank"].filter((kind) => kinds.has(kind));
  const items = names.map((kind) => word(kind === "pair" && session.ties ? "intro_pair_tie" : `intro_${kind}`));
  return element("ul", {}, ...[...items, word("intro_confirm")].map((text) => element("li", {}, text)));
}

function introduction() {
  const practice = practised().length;
  const texts = [word("intro_count", { n: counted().length })];
  if (practice) texts.push(word("intro_practice", { n: practice }));
  const look = element("p", {}, word("intro_look", { seconds: session.minimum_s }));
  const warning = keeps ? [] : [element("p", { className: "note" }, word("not_kept"))];
  const begin = buttons(mainButton(word("begin"), next));
  const first = element("p", {}, texts.join(" "));
  show("introduction", heading(word("intro_title")), first, look, howTo(), ...warning, begin);
}

function welcomeBack() {
  const values = { n: done(session.trials), total: session.trials.length };
  show("message", heading(word("welcome_back")), element("p", {}, word("welcome_text", values)),
    buttons(mainButton(word("go_on"), next), deleteButton()));
}

function drawProgress(trial) {
  const trials = trial.practice ? practised() : counted();
  const n = done(trials) + 1;
  showProgress(word(trial.practice ? "practice" : "progress", { n, total: trials.length }), n - 1, trials.length);
}

function next() {
  const trial = session.trials.find((one) => !answered.has(one.trial));
  if (!trial) return end();
  drawProgress(trial);
  present(trial, () => {
    answered.add(trial.trial);
    const last = trial.practice && done(practised()) === practised().length && done(counted()) === 0;
    return last ? practiceOver() : next();
  });
}

function practiceOver() {
  showProgress(null);
  const text = element("p", {}, word("practice_over", { n: counted().length }));
  show("message", heading(word("practice_over_title")), text, buttons(mainButton(word("begin"), next)));
}

// A session begins or goes on: `taken` are the trials that the server, where there is one, has answers of.
function enter(found, taken = []) {
  session = found;
  answered = new Set([...taken, ...state.answers.map((answer) => answer.trial)]);
  deliver();
  if (done(session.trials) === session.trials.length) return end();
  return answered.size ? welcomeBack() : introduction();
}

function openPause() {
  if (document.body.dataset.screen !== "task" || stage.hidden) return;
  current?.clock.stop();
  stage.hidden = true;
  const panel = document.getElementById("paused");
  const go = mainButton(word("go_on"), closePause);
  const text = element("p", {}, word(`paused_${study.mode}`));
  panel.replaceChildren(heading(word("paused")), text, buttons(go, deleteButton()));
  panel.hidden = false;
  panel.querySelector("h2").focus();
}

function closePause() {
  document.getElementById("paused").hidden = true;
  stage.hidden = false;
  if (current && !current.done && !current.task.body.classList.contains("waiting")) current.clock.start();
  stage.querySelector("h2")?.focus({ preventScroll: true });
}

function deleteButton() {
  const sure = (event) => {
    const row = event.currentTarget.parentElement;
    const before = [...row.children];
    const no = mainButton(word("delete_no"), () => row.replaceChildren(...before));
    row.replaceChildren(element("p", {}, word("delete_sure")), button(word("delete_yes"), deleteAll), no);
    no.focus();
  };
  return button(word("delete"), sure, "quiet");
}

async function deleteAll() {
  if (study.mode === "server") {
    const reply = await post("api/leave", {}, state.token).catch(() => null);
    if (!reply || reply.status >= 300 && reply.status !== 401) return announce(word("not_deleted"));
  }
  dropTask();
  forget();
  document.getElementById("paused").hidden = true;
  stage.hidden = false;
  showProgress(null);
  announce("");
  show("message", heading(word("left_title")), ...paragraphs(word("deleted_text")));
}

// The same session in two windows would answer each trial twice.
addEventListener("storage", (event) => {
  if (!state || event.key !== placeOf(state.session)) return;
  dropTask();
  state = null;
  stage.hidden = false;
  document.getElementById("paused").hidden = true;
  showProgress(null);
  show("message", heading(word("elsewhere_title")), ...paragraphs(word("elsewhere")),
    buttons(mainButton(word("go_on"), () => location.reload())));
});
