// Helpers for the document.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Leaves an unchanged text alone, so that screen readers do not announce it again. */
export function tell(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** The sessions that a field names, separated by spaces. */
export function namesIn(id) {
  return $(id).value.split(/\s+/).filter(Boolean);
}

/** Checks a field of session ids, and shows what is wrong below it. Returns whether anything is. */
export function isWrong(id, ifEmpty) {
  const { value, validity } = $(id);
  const problem = !value.trim()
    ? ifEmpty
    : validity.patternMismatch
      ? 'A session is named with up to 128 visible ASCII characters, without * " and \\. Separate several by spaces.'
      : "";
  $(`${id}-error`).textContent = problem;
  $(id).setAttribute("aria-invalid", String(Boolean(problem)));
  if (problem) $(id).focus();
  return Boolean(problem);
}

export function isAtEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < 80;
}

export function toEnd(list) {
  list.scrollTop = list.scrollHeight;
}
