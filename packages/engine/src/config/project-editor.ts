/**
 * Edits of config.yaml that leave everything else as it was written: comments, order, spelling,
 * quotes, blank lines.
 *
 * Each edit is made twice: on the YAML document (what must come out) and as a splice of the text
 * around the one entry (what is written). The splice counts only if it reads back as the document
 * does, comments included; otherwise the document's own text is taken, which keeps comments and
 * values but not every space.
 */
import { isAbsolute, relative, sep } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  Document,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  parseDocument,
  YAMLSeq,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml';
import type { Catalog } from './catalog.js';
import { ConfigError } from './errors.js';
import { indentOf, insertAt, renderItem, spanOf, type Span } from './list-item.js';
import { above, mergeInto } from './merge-into.js';
import { readYaml } from './yaml-source.js';

export interface NewWorker {
  readonly name: string;
  /** Written under `config:`; left out = a bare entry. */
  readonly config?: unknown;
  /** Absolute folder of a local worker; written relative to config.yaml when it lies beside or below it. */
  readonly workerPath?: string;
}

export interface ProjectEditorOptions {
  readonly text: string;
  /** Absolute folder of config.yaml. */
  readonly folder: string;
  /** How the file is called in messages. */
  readonly label: string;
  readonly catalog: Catalog;
}

interface Found {
  readonly seq: YAMLSeq;
  readonly index: number;
  readonly item: YAMLMap;
}

const LISTS = ['workers', 'modules'];
const NO_FOLDING = { lineWidth: 0 } as const;

export class ProjectEditor {
  #text: string;
  readonly #options: ProjectEditorOptions;

  constructor(options: ProjectEditorOptions) {
    this.#text = options.text;
    this.#options = options;
  }

  /** The text with the edits made so far. */
  get text(): string {
    return this.#text;
  }

  /** Is the worker listed, in any of its spellings? */
  hasWorker(name: string): boolean {
    return this.#find(this.#parse(), name) !== undefined;
  }

  /**
   * Appends an entry.
   *
   * @throws ConfigError when the worker is listed already
   */
  addWorker({ name, config, workerPath }: NewWorker): void {
    if (this.hasWorker(name)) throw this.#error(`worker '${name}' is already listed`);
    const entry = {
      name,
      ...(workerPath === undefined ? {} : { worker_path: writtenPath(this.#options.folder, workerPath) }),
      ...(config === undefined ? {} : { config }),
    };
    const doc = this.#parse();
    const text = this.#text;
    const seq = this.#list(doc);
    const last = seq.items.at(-1);
    const span = seq.flow === true || last === undefined ? undefined : spanOf(text, last);
    seq.flow = false;
    seq.add(doc.createNode(entry));
    const splice = span && insertAt(text, span.end, renderItem(new Document(entry), span.column, text));
    this.#take(doc, splice);
  }

  /**
   * Removes an entry, in whichever spelling it is listed.
   *
   * @throws ConfigError when it is not listed
   */
  removeWorker(name: string): void {
    const doc = this.#parse();
    const { seq, index, item } = this.#must(doc, name);
    const span = spanOf(this.#text, item);
    let splice = span && this.#text.slice(0, span.start) + this.#text.slice(span.end);
    if (splice !== undefined && seq.items.length === 1) splice = this.#emptied(doc, seq, splice);
    const { commentBefore } = item;
    seq.items.splice(index, 1);
    const heir = (seq.items[index] ?? seq) as Node;
    if (typeof commentBefore === 'string' && splice === undefined)
      heir.commentBefore = above(commentBefore, heir.commentBefore);
    if (seq.items.length === 0) seq.flow = true;
    this.#take(doc, splice, { commentsMayGo: true });
  }

  /**
   * Replaces the `config:` block of an entry. What stays the same keeps its comments and spelling.
   *
   * @param id - the entry's name, or `name#1` for the second of that name
   * @throws ConfigError when it is not listed
   */
  setWorkerConfig(id: string, config: unknown): void {
    const doc = this.#parse();
    const { item } = this.#must(doc, id);
    const span = spanOf(this.#text, item);
    mergeInto(doc, item, { ...(item.toJS(doc) as object), config });
    this.#take(doc, span && this.#respliced(item, span));
  }

  #respliced(item: YAMLMap, span: Span): string | undefined {
    const part = new Document();
    const { commentBefore, spaceBefore } = item;
    delete item.commentBefore;
    delete item.spaceBefore;
    try {
      part.contents = item;
      const rendered = renderItem(part, span.column, this.#text, indentOf(item, this.#text));
      return this.#text.slice(0, span.start) + rendered + this.#text.slice(span.end);
    } catch {
      return undefined; // an alias of something outside of the entry cannot be written alone
    } finally {
      if (commentBefore !== undefined) item.commentBefore = commentBefore;
      if (spaceBefore !== undefined) item.spaceBefore = spaceBefore;
    }
  }

  /** `workers:` without items would be null. */
  #emptied(doc: Document, seq: YAMLSeq, text: string): string | undefined {
    const pair = (doc.contents as YAMLMap).items.find((each) => each.value === seq) as Pair<Node, Node> | undefined;
    const keyEnd = pair?.key.range?.[1];
    if (keyEnd === undefined || text[keyEnd] !== ':') return undefined;
    return `${text.slice(0, keyEnd + 1)} []${text.slice(keyEnd + 1)}`;
  }

  /** Takes the splice if it holds what the document holds, else the document's text. */
  #take(doc: Document, splice: string | undefined, { commentsMayGo = false } = {}): void {
    const whole = doc.toString({ ...NO_FOLDING, indentSeq: !/^(workers|modules):[ \t]*\r?\n-/m.test(this.#text) });
    this.#text = splice !== undefined && holds(splice, whole, commentsMayGo) ? splice : whole;
  }

  #parse(): Document {
    const { faults } = readYaml(this.#text, this.#options.label, {});
    const syntax = faults.filter((fault) => fault.message.startsWith('not valid YAML'));
    if (syntax.length > 0) throw new ConfigError(syntax);
    return parseDocument(this.#text);
  }

  /** The list that takes new entries; made where there is none. */
  #list(doc: Document): YAMLSeq {
    if (doc.contents === null) doc.contents = doc.createNode({});
    if (!isMap(doc.contents)) throw this.#error('must be a block with a `workers:` list');
    for (const list of LISTS) {
      const seq = doc.get(list, true);
      if (isSeq(seq)) return seq;
    }
    const present = doc.get('workers', true);
    if (present !== undefined && !(isScalar(present) && present.value === null))
      throw this.#error('workers must be a list');
    const seq = new YAMLSeq();
    if (typeof present?.comment === 'string') seq.commentBefore = present.comment;
    doc.set('workers', seq);
    return seq;
  }

  #find(doc: Document, id: string): Found | undefined {
    const { catalog } = this.#options;
    const [, name, repeat] = /^(.*?)(?:#(\d+))?$/s.exec(id) ?? [];
    if (name === undefined || !isMap(doc.contents)) return undefined;
    const all: (Found & { name: string })[] = [];
    for (const list of LISTS) {
      const seq = doc.get(list, true);
      if (!isSeq(seq)) continue;
      seq.items.forEach((item, index) => {
        const typed: unknown = isMap(item) ? item.get('name') : undefined;
        if (typeof typed === 'string') all.push({ seq, index, item: item as YAMLMap, name: typed });
      });
    }
    const exact = all.filter((each) => each.name === name);
    if (exact.length > 0) return exact[Number(repeat ?? 0)];
    const builtIn = catalog.find(name);
    return builtIn === undefined || repeat !== undefined
      ? undefined
      : all.find((each) => catalog.find(each.name)?.name === builtIn.name);
  }

  #must(doc: Document, id: string): Found {
    const found = this.#find(doc, id);
    if (found === undefined) throw this.#error(`worker '${id}' is not listed`);
    return found;
  }

  #error(message: string): ConfigError {
    return new ConfigError([{ file: this.#options.label, line: undefined, message }]);
  }
}

function holds(splice: string, whole: string, commentsMayGo: boolean): boolean {
  const spliced = parseDocument(splice);
  if (spliced.errors.length > 0 || !isDeepStrictEqual(spliced.toJS(), parseDocument(whole).toJS())) return false;
  return commentsMayGo || isDeepStrictEqual(comments(splice), comments(whole));
}

function comments(text: string): string[] {
  return [...new Lexer().lex(text)]
    .filter((token) => token.startsWith('#'))
    .map((token) => token.trimEnd())
    .sort();
}

function writtenPath(folder: string, workerPath: string): string {
  const path = relative(folder, workerPath);
  if (path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path)) return workerPath;
  return path === '' ? '.' : `./${path.split(sep).join('/')}`;
}
