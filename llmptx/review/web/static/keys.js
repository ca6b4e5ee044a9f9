// The keyboard, the pointer's help, and choosing a line. Without it every page still works by links and forms.
"use strict";
(() => {
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const go = (link) => link && link.click();
  let at = -1;

  const rows = () => (document.body.classList.contains("inbox") ? all("[data-row]") : all("#ptx .code > div[id]"));

  function mark(next) {
    const list = rows();
    if (!list.length) return;
    list[at]?.classList.remove("on");
    at = Math.max(0, Math.min(list.length - 1, next));
    list[at].classList.add("on");
    list[at].scrollIntoView({ block: "nearest" });
    const line = list[at].querySelector("[data-line]");
    if (line && one("#line")) one("#line").value = line.dataset.line;
  }

  function ask(decision) {
    const form = one("#decision");
    if (!form) return;
    const button = one(`button[value="${decision}"]`, form);
    const said = one("#reason").value.trim() || one('[name="reason"]:checked', form);
    if (decision === "approve" || said) return button.click();
    one("#reason").focus();
    form.dataset.decision = decision;
    one("#reason").placeholder = decision === "reject" ? "why not? Ctrl+Enter rejects" : "what to change? Ctrl+Enter sends it back";
  }

  const inbox = {
    j: () => mark(at + 1), k: () => mark(at - 1), "/": () => one("#search").focus(),
    o: () => go(rows()[at]?.querySelector("a.name")), Enter: () => go(rows()[at]?.querySelector("a.name")),
    x: () => rows()[at]?.querySelector("input")?.click(),
    R: () => { const box = one(".bulk"); if (box) { box.open = true; one("textarea", box).focus(); } },
  };
  const kernel = {
    j: () => mark(at + 1), k: () => mark(at - 1), a: () => ask("approve"), r: () => ask("reject"), t: () => ask("return"),
    u: () => go(one("#undo button")), n: () => go(one('.walk [rel="next"]')), p: () => go(one('.walk [rel="prev"]')),
    c: () => one("#words")?.focus(), d: () => one("#diff")?.scrollIntoView(),
  };

  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && field.form) {
        const form = field.form;
        const button = form.dataset.decision ? one(`button[value="${form.dataset.decision}"]`, form) : one("button", form);
        event.preventDefault();
        button.click();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "?") return go(one('nav [href="/help"]'));
    if (event.key === "g") return go(one("nav .brand"));
    const keys = document.body.classList.contains("inbox") ? inbox : document.body.classList.contains("kernel") ? kernel : {};
    const act = Object.hasOwn(keys, event.key) && keys[event.key];
    if (!act || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("click", (event) => {
    const line = event.target.closest("#ptx [data-line]");
    if (!line || !one("#line")) return;
    mark(rows().indexOf(line.parentElement));
    one("#words").focus({ preventScroll: true });
    event.preventDefault();
  });

  const tip = document.createElement("div");
  tip.id = "tip";
  document.addEventListener("pointerover", (event) => {
    const word = event.target.closest?.("[data-help]");
    if (!word) return tip.remove();
    tip.textContent = word.dataset.help;
    document.body.append(tip);
    const box = word.getBoundingClientRect();
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  });
})();
