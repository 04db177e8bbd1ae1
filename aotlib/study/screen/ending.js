// The end of a session: answers as a file or as text, or the word that all have arrived.

function end() {
  showProgress(null);
  const title = heading(word("end_title"));
  if (study.mode === "file") {
    return show("end", title, element("p", {}, word("end_file")), ...savingParts(), ownNumber());
  }
  show("end", title, element("div", { id: "arrival" }));
  drawArrival();
}

function drawArrival() {
  const place = document.getElementById("arrival");
  if (!place || !state) return;
  if (!state.waiting.length && !state.refused.length) {
    return place.replaceChildren(element("p", {}, word("end_server")), ownNumber(), buttons(anotherButton()));
  }
  const text = arrivalText();
  if (place.childElementCount) place.firstChild.textContent = text;
  else place.replaceChildren(element("p", {}, text), element("p", {}, word("end_fallback")), ...savingParts());
}

function arrivalText() {
  if (state.gone) return word("unknown_place");
  if (state.waiting.length) return word("end_waiting", { n: state.waiting.length });
  return word("end_refused", { n: state.refused.length });
}

document.addEventListener("delivery", drawArrival);

// The beginning of the random id, by which a researcher who pays finds the answers.
function ownNumber() {
  return element("p", { className: "small" }, word("end_number", { number: state.rater.slice(0, 8) }));
}

function anotherButton() {
  return button(word("another"), () => {
    forget();
    location.reload();
  }, "quiet");
}

function savingParts() {
  const area = element("textarea", { id: "text", rows: 8, readOnly: true, value: exported() });
  const label = element("label", { htmlFor: "text" }, word("text_label"));
  const text = element("div", { hidden: true }, label, area, buttons(button(word("copy"), () => copy(area))));
  const asText = button(word("as_text"), () => {
    text.hidden = false;
    area.focus();
    area.select();
  });
  return [buttons(mainButton(word("save"), save), asText), text];
}

function save() {
  const address = URL.createObjectURL(new Blob([exported()], { type: "application/json" }));
  const name = `answers-session-${state.session}-${state.rater.slice(0, 8)}.json`;
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  announce(word("saved"));
}

async function copy(area) {
  area.select();
  try {
    await navigator.clipboard.writeText(area.value);
    announce(word("copied"));
  } catch {
    announce(word("copy_by_hand"));
  }
}
