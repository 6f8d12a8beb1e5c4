"use strict";
(() => {
  const { data, charts } = JSON.parse(document.getElementById("data").textContent);
  const views = new Map();

  /** The part of the shared data that a chart refers to by name. */
  function datasets(part, found = {}) {
    if (Array.isArray(part)) part.forEach((each) => datasets(each, found));
    else if (part && typeof part === "object") {
      if (typeof part.name === "string" && part.name in data) found[part.name] = data[part.name];
      Object.values(part).forEach((each) => datasets(each, found));
    }
    return found;
  }

  async function draw(place) {
    const spec = charts[Number(place.dataset.chart)];
    try {
      const { view } = await vegaEmbed(place, { ...spec, datasets: datasets(spec) }, {
        ast: true, actions: false, renderer: "svg", tooltip: { theme: "custom" },
      });
      views.set(place, view);
      await square(place, view);
    } catch (wrong) {
      place.classList.add("failed");
      place.textContent = `This picture could not be drawn (${wrong.message}); the numbers are in the table.`;
      console.error(wrong);
    }
  }

  /** A matrix is as high as it is wide. */
  function square(place, view) {
    return place.closest(".square") ? view.signal("height", view.signal("width")).runAsync() : view;
  }

  /** A choice made in the legend of a panel's first chart holds in all its charts. */
  function follow(article) {
    const [first, ...others] = [...article.querySelectorAll("[data-chart]")].map((place) => views.get(place)).filter(Boolean);
    for (const name of first ? ["run", "weights", "kind"] : []) {
      const store = `${name}_store`;
      if (!(store in first.getState({ data: (key) => key === store }).data)) continue;
      first.addDataListener(store, (_, chosen) => {
        for (const view of others) view.data(store, chosen.map(({ unit, fields, values }) => ({ unit, fields, values }))).runAsync();
      });
    }
  }

  /** Paper has its own width: draw for it before printing, and for the screen again afterwards. */
  function fit(width) {
    for (const [place, view] of views) {
      const share = place.closest(".pair") && width ? 0.48 : 1;
      view.signal("width", width ? width * share : place.clientWidth).run();
    }
    settle();
  }

  /** A narrow legend has more rows, which a view learns only after its width: measure its height once more. */
  function settle() {
    for (const [place, view] of views) {
      view.resize().run();
      square(place, view);
    }
  }

  function copying(button) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  document.querySelectorAll("[data-copy]").forEach(copying);
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details:not([open])")) { each.open = true; closed.push(each); }
    fit(680);
  });
  addEventListener("afterprint", () => {
    for (const each of closed.splice(0)) each.open = false;
    fit(0);
  });
  Promise.all([...document.querySelectorAll("[data-chart]")].map(draw)).then(() => {
    document.querySelectorAll("article").forEach(follow);
    addEventListener("resize", () => setTimeout(settle, 50));
    document.documentElement.dataset.drawn = views.size;
  });
})();
