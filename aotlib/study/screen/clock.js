// Seconds for which pictures have been in view: the clock stands still in a pause and while the page is hidden.

function makeClock() {
  let total = 0;
  let since = null;
  let wanted = false;
  const now = () => performance.now() / 1000;
  const start = () => {
    if (since === null) since = now();
  };
  const stop = () => {
    if (since !== null) total += now() - since;
    since = null;
  };
  const follow = () => (wanted && !document.hidden ? start() : stop());
  document.addEventListener("visibilitychange", follow);
  const run = (on) => {
    wanted = on;
    follow();
  };
  return {
    start: () => run(true),
    stop: () => run(false),
    seconds: () => total + (since === null ? 0 : now() - since),
    end: () => {
      run(false);
      document.removeEventListener("visibilitychange", follow);
    },
  };
}

// Calls `then` once the clock has reached `seconds`; returns a function that gives it up.
function whenSeen(clock, seconds, then) {
  const timer = setInterval(() => {
    if (clock.seconds() < seconds) return;
    clearInterval(timer);
    then();
  }, 50);
  return () => clearInterval(timer);
}
