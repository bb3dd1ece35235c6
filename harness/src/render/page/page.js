"use strict";
// The charts are whole without this. It switches arms off, scales and colours, and shows the figure under the pointer.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const hover = document.getElementById("hover");

  // ---- figures under the pointer -----------------------------------------------------------------------------

  const show = (event, text) => {
    hover.textContent = text;
    hover.hidden = false;
    const box = hover.getBoundingClientRect();
    hover.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6)) + "px";
    hover.style.top = Math.max(4, event.clientY - box.height - 12) + "px";
  };
  const hide = () => { hover.hidden = true; };
  /// How far a point is from a box, squared.
  const distance = (box, x, y) =>
    Math.max(box.left - x, 0, x - box.right) ** 2 + Math.max(box.top - y, 0, y - box.bottom) ** 2;
  const figures = new Map();
  for (const svg of all(".plot svg")) {
    // The browser would show a title as well as we do.
    const own = all("g.figure", svg).map((group) => {
      const title = group.querySelector("title");
      title.remove();
      return [group, title.textContent];
    });
    figures.set(svg, own);
    svg.addEventListener("pointermove", (event) => {
      let nearest = null;
      let least = 900;
      for (const [group, text] of figures.get(svg)) {
        if (group.closest("[data-arm]").classList.contains("off")) continue;
        const away = distance(group.getBoundingClientRect(), event.clientX, event.clientY);
        if (away < least) [nearest, least] = [text, away];
      }
      if (nearest) show(event, nearest); else hide();
    });
    svg.addEventListener("pointerleave", hide);
  }

  // ---- arms on and off ---------------------------------------------------------------------------------------

  const legend = document.getElementById("legend");
  const boxes = all("input", legend);
  const apply = () => {
    hide();
    const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    for (const group of all(".plot g[data-arm]")) group.classList.toggle("off", off.has(group.dataset.arm));
    for (const line of all("figure tr[data-arm]")) line.hidden = off.has(line.dataset.arm);
  };
  const setAll = (checked) => {
    for (const box of boxes) box.checked = checked;
    apply();
  };
  for (const box of boxes) box.addEventListener("change", apply);
  document.getElementById("all").addEventListener("click", () => setAll(true));
  document.getElementById("none").addEventListener("click", () => setAll(false));
  legend.hidden = figures.size === 0;

  // ---- scales ------------------------------------------------------------------------------------------------

  for (const button of all(".switch")) {
    const figure = button.closest("figure");
    const plots = all(".plot", figure);
    button.hidden = false;
    button.addEventListener("click", () => {
      hide();
      for (const plot of plots) plot.hidden = !plot.hidden;
      const [shown, other] = plots[0].hidden ? [plots[1], plots[0]] : plots;
      figure.dataset.scale = shown.dataset.scale;
      button.textContent = `${shown.dataset.scale}, switch to ${other.dataset.scale}`;
    });
  }

  // ---- light and dark ----------------------------------------------------------------------------------------

  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const now = themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % themes.length];
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    theme.textContent = `theme: ${now}`;
  });
})();
