// The ranked samples all stand in the page, folded: of them the list shows those that were found.
(() => {
  const root = document.getElementById("samples-browser");
  if (!root) return;
  const groups = [...root.querySelectorAll(".iteration")];
  const items = [...root.querySelectorAll(".sample")];
  const texts = new Map();
  const textOf = (item) => {
    if (!texts.has(item)) {
      const parts = [...items[item].querySelectorAll(".text, .constraints")];
      texts.set(item, plain(parts.map((part) => part.textContent).join("\n")));
    }
    return texts.get(item);
  };
  const list = find(root, {
    count: items.length,
    size: 12,
    matches: (item, { query, only, choice }) => {
      const kinds = items[item].dataset.kinds.split(" ");
      const iteration = items[item].closest(".iteration").dataset.iteration;
      if (choice && choice !== iteration) return false;
      return only.every((kind) => kinds.includes(kind)) && (!query || textOf(item).includes(query));
    },
    show: (found) => {
      items.forEach((item, number) => {
        item.hidden = !found.includes(number);
        item.open = number === found[0];
      });
      for (const group of groups) group.hidden = !group.querySelector(".sample:not([hidden])");
    },
  });
  list.draw();
})();
