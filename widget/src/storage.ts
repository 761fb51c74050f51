// What outlives the page: one localStorage key a record, so that two tabs never overwrite each other's. Where storage is
// full, forbidden or absent, memory takes its place.

const PREFIX = "otel-feedback:";
const memory = new Map<string, string>();

/** Keep a value; `null` removes it. */
export function put(key: string, value: string | null): void {
  memory.delete(key);
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
  } catch {
    if (value !== null) memory.set(key, value);
  }
}

/** All records whose key begins so, by key. */
export function all(prefix: string): Map<string, string> {
  const found = [...memory];
  try {
    for (const name in localStorage) {
      if (name.startsWith(PREFIX)) found.push([name.slice(PREFIX.length), localStorage.getItem(name)!]);
    }
  } catch {
    // no storage: memory is all there is
  }
  return new Map(found.filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What JSON says, or `undefined` where it is none or can't be had. */
export function parse<T extends object>(json: () => string | null | undefined): T | undefined {
  try {
    return Object(JSON.parse(json() ?? "")) as T;
  } catch {
    return undefined;
  }
}
