/** YAML text with the way back from a value to its line. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node, type Pair } from 'yaml';
import type { ConfigFault } from './errors.js';
import { expand } from './expand.js';
import { valueWord } from './schema-faults.js';
import type { ValuePath } from './value-path.js';

/** A tree of configuration, from a file or from code. */
export interface ConfigTree {
  /** How the source is called in messages, e.g. `config.yaml`. */
  readonly label: string;
  /** As written. */
  readonly template: unknown;
  /** With placeholders replaced; one in quotes stays text. */
  readonly value: unknown;
  /** The same, with those in quotes read like the others: for settings that only make sense so (`{ port: "${PORT:80}" }`). */
  readonly unquoted: () => unknown;
  /** Paths whose placeholder could not be replaced (already told as faults). */
  readonly unresolved: readonly ValuePath[];
  /** Line of the value or key at a path, or of the nearest thing around it. */
  line(path: ValuePath): number | undefined;
}

export interface TreeResult {
  readonly tree: ConfigTree;
  readonly faults: ConfigFault[];
}

/** Reads YAML. With syntax faults the tree is empty. */
export function readYaml(text: string, label: string, env: NodeJS.ProcessEnv): TreeResult {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const line = (path: ValuePath): number | undefined => {
    const offset = offsetOf(doc, path);
    return offset === undefined ? undefined : lines.linePos(offset).line;
  };
  // One slip makes the parser trip over everything behind it: only where it tripped first is the slip.
  const faults: ConfigFault[] = doc.errors.slice(0, 1).map((error) => {
    const bare = barePlaceholder(text, error.pos[0]);
    if (bare !== undefined) {
      const { line, col } = lines.linePos(bare.at);
      return { file: label, line, message: `not valid YAML at column ${col}: ${inFlowMessage(bare.text)}` };
    }
    const position = lines.linePos(error.pos[0]);
    const said =
      error.code === 'MULTIPLE_DOCS' ? 'this file must hold one document: remove the `---` line' : error.message;
    return { file: label, line: position.line, message: `not valid YAML at column ${position.col}: ${said}` };
  });
  let template: unknown;
  if (faults.length === 0) {
    try {
      template = doc.toJS();
    } catch (error) {
      // An alias that leads nowhere, or aliases of aliases that would not fit into memory.
      faults.push({
        file: label,
        line: undefined,
        message: `not valid YAML: ${error instanceof Error ? error.message : String(error)}`,
      });
    }
  }
  const unresolved: ValuePath[] = [];
  const value = expand(template, {
    env,
    quoted: (path) => isQuoted(nodeAt(doc, path)),
    unset: (variable, path) => {
      unresolved.push(path);
      faults.push({ file: label, line: line(path), message: unsetMessage(variable) });
    },
  });
  const unquoted = (): unknown => expand(template, { env, unset: () => undefined });
  return { tree: { label, template, value, unquoted, unresolved, line }, faults };
}

/** A placeholder, as far as it can stand in a text without quotes. */
const PLACEHOLDER = /\$\{[^}\n]*\}/g;

/**
 * The placeholder that the parser tripped over: between `{ }` and `[ ]` it reads the braces of one without
 * quotes as YAML.
 */
function barePlaceholder(text: string, errorAt: number): { readonly at: number; readonly text: string } | undefined {
  const lineStart = text.lastIndexOf('\n', errorAt - 1) + 1;
  const lineEnd = text.indexOf('\n', errorAt);
  const line = text.slice(lineStart, lineEnd < 0 ? text.length : lineEnd);
  for (const { 0: found, index } of line.matchAll(PLACEHOLDER)) {
    const at = lineStart + index;
    if (at <= errorAt && errorAt <= at + found.length) return { at, text: found };
  }
  return undefined;
}

function inFlowMessage(placeholder: string): string {
  return `between { } or [ ] a placeholder needs quotes: write "${placeholder}"`;
}

/** A tree that came from code: no lines. */
export function readValue(template: unknown, label: string, env: NodeJS.ProcessEnv): TreeResult {
  const faults: ConfigFault[] = [];
  const unresolved: ValuePath[] = [];
  const value = expand(template, {
    env,
    unset: (variable, path) => {
      unresolved.push(path);
      faults.push({ file: label, line: undefined, message: unsetMessage(variable) });
    },
  });
  return { tree: { label, template, value, unquoted: () => value, unresolved, line: () => undefined }, faults };
}

function unsetMessage(variable: string): string {
  return `environment variable ${variable} is not set and has no default: set it, or write \${${variable}:default}`;
}

/** @returns the map, or undefined after telling a fault; null and absent count as empty */
export function asMap(
  value: unknown,
  tell: (message: string) => void,
  what: string,
): Record<string, unknown> | undefined {
  if (value === undefined || value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  tell(`${what} must be a block of keys, got ${valueWord(value)}`);
  return undefined;
}

function resolved(doc: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(doc) : node;
}

function pairAt(doc: Document, node: unknown, key: string | number): Pair | undefined {
  const map = resolved(doc, node);
  return isMap(map)
    ? map.items.find((pair) => String(isScalar(pair.key) ? pair.key.value : pair.key) === String(key))
    : undefined;
}

function nodeAt(doc: Document, path: ValuePath): unknown {
  let node: unknown = doc.contents;
  for (const step of path) {
    const at = resolved(doc, node);
    node = isSeq(at) ? at.items[Number(step)] : pairAt(doc, at, step)?.value;
  }
  return resolved(doc, node);
}

function isQuoted(node: unknown): boolean {
  return isScalar(node) && node.type !== undefined && node.type !== 'PLAIN';
}

/** Where the key (or list item) at a path starts; of the longest part of the path that exists. */
function offsetOf(doc: Document, path: ValuePath): number | undefined {
  let offset = doc.contents?.range?.[0];
  let node: unknown = doc.contents;
  for (const step of path) {
    const at = resolved(doc, node);
    const pair = pairAt(doc, at, step);
    const next = isSeq(at) ? at.items[Number(step)] : pair?.value;
    const shown = (isSeq(at) ? next : pair?.key) as Node | null | undefined;
    if (!shown?.range) break;
    offset = shown.range[0];
    node = next;
  }
  return offset;
}
