/** Keys and list positions from the root of a value. */
export type ValuePath = readonly (string | number)[];

/** The value at a path, or undefined where the path leads nowhere. Own keys only. */
export function valueAt(root: unknown, path: ValuePath): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
