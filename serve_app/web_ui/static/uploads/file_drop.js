// Takes files that are chosen or dropped anywhere on the page.

/** zone: the element that shows that files can be dropped. isOpen(): whether files are taken. onFiles(files). */
export function acceptFiles({ input, zone, isOpen, onFiles }) {
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = "";
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && isOpen();
  // Each element that the pointer crosses fires dragenter and dragleave.
  let depth = 0;
  const setDepth = (value) => {
    depth = Math.max(0, value);
    zone.classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", (event) => { if (hasFiles(event)) setDepth(depth + 1); });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) setDepth(depth - 1); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setDepth(0);
    onFiles([...event.dataTransfer.files]);
  });
}
