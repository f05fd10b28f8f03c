"use strict";
// One list of prompts that is searched, filtered and turned page by page. Without the script its first page is there.

const plain = (text) => text.normalize("NFKC").toLowerCase();

// root: the element with a form, a pager and a list. count: how many items there are, size: how many on a page.
// matches(item, wanted): does the item's number belong to what is wanted: { only, choice, query }.
// show(items): make the list show these.
const find = (root, { count, size, matches, show }) => {
  const form = root.querySelector("form");
  const list = root.querySelector(".list");
  const [previous, next] = ["previous", "next"].map((name) => root.querySelector(`[name=${name}]`));
  const output = root.querySelector("output");
  let found = Array.from({ length: count }, (_, item) => item);
  let page = 0;
  // What a browser kept in the form when the page was loaded again is not what the list shows.
  form.reset();

  const pages = () => Math.max(1, Math.ceil(found.length / size));
  const tell = () => {
    const [from, to] = [page * size + 1, Math.min(found.length, (page + 1) * size)];
    const all = found.length === count ? `${count}` : `${found.length} found, of ${count}`;
    output.value = found.length ? `${from} to ${to} of ${all}` : `None of ${count} found`;
    previous.ariaDisabled = page === 0;
    next.ariaDisabled = page === pages() - 1;
  };
  const draw = () => {
    show(found.slice(page * size, (page + 1) * size));
    tell();
  };
  const turn = (by) => {
    const wanted = page + by;
    if (wanted < 0 || wanted >= pages()) return false;
    page = wanted;
    draw();
    return true;
  };
  const search = () => {
    const wanted = {
      query: plain(form.elements.search.value.trim()),
      only: [...form.querySelectorAll("[name=only]:checked")].map((box) => box.value),
      choice: form.elements.choice ? form.elements.choice.value : "",
    };
    found = [];
    for (let item = 0; item < count; item += 1) if (matches(item, wanted)) found.push(item);
    page = 0;
    draw();
  };

  const shown = () => [...list.querySelectorAll("details")].filter((item) => item.checkVisibility());
  const open = (item) => {
    if (!item) return;
    item.open = true;
    item.querySelector("summary").focus();
  };
  // Past the last prompt of a page comes the first of the next one.
  const step = (by) => {
    const here = document.activeElement.closest("details");
    const items = shown();
    const at = items.indexOf(here);
    const wanted = at < 0 ? items[by > 0 ? 0 : items.length - 1] : items[at + by];
    if (wanted) {
      if (here) here.open = false;
      open(wanted);
    } else if (turn(by)) {
      open(shown().at(by > 0 ? 0 : -1));
    }
  };

  const keys = {
    "/": () => form.elements.search.focus(),
    j: () => step(1),
    k: () => step(-1),
    n: () => turn(1) && open(shown()[0]),
    p: () => turn(-1) && open(shown()[0]),
  };
  root.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input[type=search], select");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", search);
  form.addEventListener("reset", () => setTimeout(search));
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  for (const part of root.querySelectorAll(".toolbar, .pager, .keys")) part.hidden = false;
  return { draw, tell };
};
