// The held-out prompts lie in blocks of JSON, one for each page of them, that are read when they are needed.
(() => {
  const root = document.getElementById("answers-browser");
  if (!root) return;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const index = read("answers-index");
  const kinds = index.kinds.map((found) => found.split(" "));
  const blocks = new Map();
  const item = (number) => {
    const block = Math.floor(number / index.page);
    if (!blocks.has(block)) blocks.set(block, read(`answers-${block}`));
    return blocks.get(block)[number % index.page];
  };
  const texts = new Map();
  const textOf = (number) => {
    if (!texts.has(number)) {
      const { prompt, rules, answers } = item(number);
      texts.set(number, plain([prompt[0], ...rules, ...answers.map((answer) => answer[0])].join("\n")));
    }
    return texts.get(number);
  };

  // Everything is set as text, never as HTML.
  const make = (tag, classes, text, ...children) => {
    const element = document.createElement(tag);
    if (classes) element.className = classes;
    if (text) element.textContent = text;
    element.append(...children);
    return element;
  };
  const writing = ([text, leftOut, long], label) => {
    const box = make("div", long ? "text long" : "text", text);
    box.dir = "auto";
    if (long) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.ariaLabel = label;
    }
    const notes = [];
    if (!text.trim()) notes.push(make("p", "left-out", "(empty)"));
    if (leftOut) notes.push(make("p", "left-out", `${leftOut.toLocaleString("en")} more characters are not shown.`));
    return [box, ...notes];
  };
  const rulesOf = (rules) => {
    if (!rules.length) return [];
    const parts = rules.flatMap((rule, number) => [number ? "; " : "", make("bdi", "", rule)]);
    return [make("p", "constraints", "Constraints: ", ...parts)];
  };
  const SAID = { better: "+ better", worse: "\u2212 worse", tie: "= tie" };
  const verdictOf = (judge, share) => {
    const kind = share > 0.5 ? "better" : share < 0.5 ? "worse" : "tie";
    const agreeing = kind === "worse" ? 1 - share : share;
    const often = agreeing === 0.5 || agreeing === 1 ? "" : ` in ${Math.floor(100 * agreeing + 0.5)}\u00a0%`;
    return make("li", kind, "", make("bdi", "", judge), ": ", make("strong", "", SAID[kind] + often));
  };
  const answerOf = ([text, leftOut, long, passed, cutOff, wins], number) => {
    const head = make("p", "verdict", "", make("span", "", index.models[number]));
    const add = (name, said) => head.append(" ", make("span", name, said));
    if (passed !== null) add(passed ? "passed" : "failed", passed ? "✓ constraints met" : "✗ not met");
    if (cutOff) add("", "cut off");
    const verdicts = wins.flatMap((share, judge) => (share === null ? [] : [verdictOf(index.judges[judge], share)]));
    const said = verdicts.length ? [make("ul", "verdicts", "", ...verdicts)] : [];
    return make("li", "", "", head, ...said, ...writing([text, leftOut, long], "Answer"));
  };
  const detailsOf = (number) => {
    const { title, prompt, rules, answers } = item(number);
    const name = make("span", "title", title);
    name.dir = "auto";
    const source = index.sources[index.source[number]];
    const summary = make("summary", "", "", name, ...(source ? [" ", make("span", "tag", source)] : []));
    const asked = title === prompt[0] ? rulesOf(rules) : [make("div", "prompt", "", ...writing(prompt, "Prompt"), ...rulesOf(rules))];
    return make("details", "comparison", "", summary, ...asked, make("ol", "columns", "", ...answers.map(answerOf)));
  };

  const list = find(root, {
    count: kinds.length,
    size: index.page,
    matches: (number, { query, only, choice }) =>
      only.every((kind) => kinds[number].includes(kind)) &&
      (!choice || choice === index.sources[index.source[number]]) &&
      (!query || textOf(number).includes(query)),
    show: (found) => {
      const shown = found.map(detailsOf);
      if (shown.length) shown[0].open = true;
      root.querySelector(".list").replaceChildren(...shown);
    },
  });
  list.tell();
})();
