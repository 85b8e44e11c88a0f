import { DEFAULT_NAMESPACE, ErrorCode, TrineError } from '@trine/protocol';

/**
 * The namespace that someone means who may have named none: `default` if the thing is there, else the
 * only other one where it is.
 *
 * @param what - for errors, e.g. `Function 'a::b'`
 * @param state - what it should be, e.g. `registered`
 * @param named - what was asked for
 * @param found - the namespaces that have it
 * @throws TrineError `NOT_FOUND`
 */
export function oneNamespace(
  what: string,
  state: string,
  named: string | null | undefined,
  found: readonly string[],
): string {
  const namespaces = [...new Set(found)].sort();
  if (named !== undefined && named !== null) {
    if (namespaces.includes(named)) return named;
    throw new TrineError(ErrorCode.notFound, `${what} is not ${state} in namespace '${named}'.`);
  }
  if (namespaces.includes(DEFAULT_NAMESPACE)) return DEFAULT_NAMESPACE;
  const [only, other] = namespaces;
  if (only === undefined) throw new TrineError(ErrorCode.notFound, `${what} is not ${state}.`);
  if (other === undefined) return only;
  const list = namespaces.map((each) => `'${each}'`).join(', ');
  throw new TrineError(
    ErrorCode.notFound,
    `${what} is ${state} in several namespaces (${list}). Pass \`namespace\` to select one.`,
  );
}
