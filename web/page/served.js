// Says so where the page's modules cannot come: opened as a file, or served without the folder client/ beside page/.
// A classic script, since browsers load those from a disk too.

const tell = () => (document.documentElement.dataset.view = "unserved");
if (location.protocol === "file:") tell();
addEventListener("error", ({ target }) => target.tagName === "SCRIPT" && tell(), { capture: true });
