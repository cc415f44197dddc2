"use strict";
// Shows the transcripts that fit all filters, and says how many they are.
const filters = document.getElementById("filters");
const transcripts = [...document.querySelectorAll(".transcript")];
const texts = new Map();

function text(transcript) { // of the query and the calls; looked up once
  if (!texts.has(transcript)) {
    const parts = [...transcript.querySelectorAll(".asked, .calls code")].map((part) => part.textContent);
    texts.set(transcript, parts.join(" ").toLowerCase());
  }
  return texts.get(transcript);
}

function show() {
  const asked = Object.fromEntries(new FormData(filters));
  const words = (asked.words || "").toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const transcript of transcripts) {
    const fits = ["run", "outcome", "workflow"].every((name) => !asked[name] || transcript.dataset[name] === asked[name])
      && words.every((word) => text(transcript).includes(word));
    transcript.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} shown`;
}

filters.addEventListener("input", show);
filters.addEventListener("submit", (event) => event.preventDefault());
show();
