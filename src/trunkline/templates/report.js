"use strict";
for (const box of document.querySelectorAll(".search")) {
  const text = box.querySelector("input"), change = box.querySelector("select"), count = box.querySelector("output");
  const rows = Array.from(document.querySelectorAll("#examples tbody tr"));
  const words = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const wanted = text.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = (!change.value || row.dataset.change === change.value) && wanted.every((word) => words[index].includes(word));
      row.classList.toggle("hidden", !fits);
      shown += fits;
    });
    count.textContent = shown + " of " + rows.length;
  };
  text.addEventListener("input", show);
  change.addEventListener("change", show);
  box.classList.add("on");
  show();
}
