// The search: hides every entry that does not have all the words. Without this file the page is whole.
const box = document.getElementById("search");
const sections = [...document.querySelectorAll("main section")].map((section) => ({
  section,
  title: section.querySelector("h2").textContent,
  entries: [...section.querySelectorAll(".entry")].map((entry) => ({ entry, text: entry.textContent.toLowerCase() })),
}));

function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { section, title, entries } of sections) {
    const name = title.toLowerCase();
    let here = 0;
    for (const { entry, text } of entries) {
      const hit = words.every((word) => text.includes(word) || name.includes(word));
      entry.hidden = !hit;
      here += hit;
    }
    section.hidden = here === 0;
    found += here;
  }
  document.getElementById("nothing").hidden = found > 0;
}

// A link to an operation opens it.
function open() {
  const entry = document.getElementById(location.hash.slice(1));
  if (entry && entry.tagName === "DETAILS") entry.open = true;
}

box.hidden = false;
box.addEventListener("input", search);
addEventListener("hashchange", open);
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== box) {
    event.preventDefault();
    box.focus();
  }
});
open();
