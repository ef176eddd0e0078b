const buttons = document.querySelectorAll(".filter button");
const show = (wanted) => {
  for (const one of document.querySelectorAll("[data-is]"))
    one.hidden = wanted !== "all" && !one.dataset.is.split(" ").includes(wanted);
  for (const one of buttons) one.setAttribute("aria-pressed", one.dataset.show === wanted);
};
for (const one of document.querySelectorAll(".filter, .copy")) one.hidden = false;
for (const one of buttons) one.addEventListener("click", () => show(one.dataset.show));
for (const one of document.querySelectorAll(".copy"))
  one.addEventListener("click", async () => {
    const text = one.closest("dd")?.firstChild ?? one.closest("details").querySelector("[data-copy]");
    await navigator.clipboard.writeText(text.textContent.trim());
    one.textContent = "Copied";
  });
