// The UTF-8 of a text, and views of binary data. TextEncoder and TextDecoder would do, but jsdom lacks them.

/** One character for each byte. */
export const toBytes = (text) =>
  encodeURIComponent(text).replace(/%(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));

export const fromBytes = (bytes) =>
  decodeURIComponent(bytes.replace(/[^]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`));

export const isBinary = (data) => data instanceof ArrayBuffer || ArrayBuffer.isView(data);

export function bytesOf(data) {
  return data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
