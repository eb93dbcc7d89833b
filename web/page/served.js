// Explains how to serve the page if its modules cannot load: opened as a file, or served without the folder client/.
// A classic script, since browsers also load those from a disk.

const tell = () => (document.documentElement.dataset.view = "unserved");
if (location.protocol === "file:") tell();
addEventListener("error", ({ target }) => target.tagName === "SCRIPT" && tell(), { capture: true });
