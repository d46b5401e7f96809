// What the browser remembers for the page. In a frame of another site it often may not, and even asking it throws.

// where: "localStorage" or "sessionStorage".
export function recall(where, name) {
  try {
    return globalThis[where].getItem(name);
  } catch {
    return null;
  }
}

// Whether it will be remembered.
export function remember(where, name, value) {
  try {
    globalThis[where].setItem(name, value);
    return true;
  } catch {
    return false;
  }
}
