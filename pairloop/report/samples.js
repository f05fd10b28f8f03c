"use strict";
// Without this script every sample is there, folded. With it they are shown one at a time.
(() => {
  const browser = document.getElementById("browser");
  const toolbar = browser.querySelector(".toolbar");
  const { iteration, prompt, previous, next } = toolbar.elements;
  const groups = [...browser.querySelectorAll(".iteration")];
  const samplesOf = (group) => [...group.querySelectorAll(".sample")];

  const show = () => {
    for (const group of groups) {
      group.hidden = group.dataset.iteration !== iteration.value;
      samplesOf(group).forEach((sample, index) => {
        sample.hidden = index !== Number(prompt.value);
        sample.open = !sample.hidden;
      });
    }
    toolbar.querySelector("output").value = `${prompt.selectedIndex + 1} of ${prompt.length}`;
  };

  const list = (index) => {
    const titles = samplesOf(groups[iteration.selectedIndex]).map((sample, number) => {
      const parts = [".title", ".tag"].map((part) => sample.querySelector(part).textContent);
      return new Option(`${parts[0]} (${parts[1]})`, number);
    });
    prompt.replaceChildren(...titles);
    prompt.selectedIndex = index < 0 ? titles.length - 1 : index;
    show();
  };

  // Past the last prompt of an iteration comes the first of the next one, and after the last iteration the first.
  const step = (by) => {
    const wanted = prompt.selectedIndex + by;
    if (wanted >= 0 && wanted < prompt.length) {
      prompt.selectedIndex = wanted;
      show();
    } else {
      iteration.selectedIndex = (iteration.selectedIndex + by + groups.length) % groups.length;
      list(by < 0 ? -1 : 0);
    }
  };

  toolbar.addEventListener("submit", (event) => event.preventDefault());
  iteration.addEventListener("change", () => list(0));
  prompt.addEventListener("change", show);
  previous.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  browser.classList.add("one-at-a-time");
  toolbar.hidden = false;
  iteration.selectedIndex = 0;
  list(0);
})();
