// What this browser remembers of a rater, and, with a server, sending it: an answer stays here until it has arrived.

const RETRY_S = [1, 2, 4, 8, 15];
let state = null; // {session, rater, token, viewport, agreed, nonce, answers: [...], waiting: [...], refused: [...], gone}
let keeps = true;
let sending = false;
let failures = 0; // tries to send, one after the other, that came to nothing

function placeOf(session) {
  return `aotlib-study ${study.plan} ${study.mode === "server" ? "server" : session}`;
}

function recall(session = null) {
  try {
    return JSON.parse(localStorage.getItem(placeOf(session)));
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(placeOf(state.session), JSON.stringify(state));
  } catch {
    keeps = false;
  }
}

function forget() {
  try {
    localStorage.removeItem(placeOf(state.session));
  } catch {
    keeps = false;
  }
  state = null;
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function viewport() {
  return [innerWidth, innerHeight].map(Math.round);
}

function newState(values) {
  return { answers: [], waiting: [], refused: [], agreed: true, viewport: viewport(), gone: false, ...values };
}

function addAnswer(answer) {
  state.answers.push(answer);
  if (study.mode === "server") state.waiting.push(answer);
  keep();
  deliver();
}

function exported() {
  const { session, rater } = state;
  const head = { format: "aotlib-study-answers-1", plan: study.plan, session, rater, simulated: false };
  return JSON.stringify({ ...head, viewport: state.viewport, answers: state.answers }, null, 1);
}

async function post(path, content, token = null) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { method: "POST", headers, body: JSON.stringify(content), cache: "no-store" };
  const response = await fetch(path, options);
  const said = await response.json().catch(() => ({}));
  return { status: response.status, said };
}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// What every screen says for as long as answers cannot be sent.
function connectionNote() {
  return failures && state?.waiting.length ? word("unsent", { n: state.waiting.length }) : "";
}

// Sends what waits, in order, until all has arrived; tries again for as long as the page is open.
async function deliver() {
  if (sending || study.mode !== "server") return;
  sending = true;
  failures = 0;
  while (state?.waiting.length && !state.gone) {
    const said = await trySending(state.waiting[0]);
    if (!state) break;
    if (said) {
      const answer = state.waiting.shift();
      if (said.refused) state.refused.push(answer.trial);
      keep();
      if (failures && !said.refused) announce(word("sent"));
      failures = 0;
    } else if (!state.gone) {
      failures += 1;
      announce(connectionNote());
      await pause(RETRY_S[Math.min(failures, RETRY_S.length) - 1]);
    }
    document.dispatchEvent(new Event("delivery"));
  }
  sending = false;
  document.dispatchEvent(new Event("delivery"));
}

// What became of an answer: it is there, or the server will never take it; null when it is to be tried again.
async function trySending({ trial, choice, seconds }) {
  const reply = await post("api/answer", { trial, choice, seconds }, state.token).catch(() => null);
  if (!reply || reply.status >= 500 || reply.status === 429) return null;
  if (reply.status === 401) {
    state.gone = true;
    keep();
    announce(word("unknown_place"));
    return null;
  }
  const refused = reply.status >= 400 && reply.status !== 409;
  if (refused) announce(word("refused", { reason: reply.said.detail ?? reply.status }));
  return { refused };
}
